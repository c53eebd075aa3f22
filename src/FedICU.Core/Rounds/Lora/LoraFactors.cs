namespace FedICU.Rounds.Lora;

/// <summary>Two factors of one module, as far as they were found.</summary>
internal sealed record LoraFactors((string A, string B) Names, string Rest)
{
    public TensorInfo? A { get; set; }

    public TensorInfo? B { get; set; }
}
