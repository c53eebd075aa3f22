namespace FedICU.Rounds.Lora;

/// <summary>The two factors of an adapter in one module; a factor is null until it is found.</summary>
/// <param name="Names">The factors' names, one of <see cref="LoraName.Families"/>.</param>
/// <param name="Rest">The rest of the tensors' names, as <see cref="LoraName.Rest"/>.</param>
internal sealed record LoraFactors((string A, string B) Names, string Rest)
{
    public TensorInfo? A { get; set; }

    public TensorInfo? B { get; set; }
}
