namespace FedICU.Interop;

/// <summary>The JSON options of fedicu_adapt.</summary>
internal sealed record AdaptSettings
{
    public int Rank { get; init; }

    public double? LoraScaling { get; init; }

    public int Threads { get; init; }
}
