namespace FedICU.Fedn;

/// <summary>A round as its folder holds it.</summary>
internal sealed record RestoredRound
{
    /// <summary>The global model; null if there is none or its file is damaged.</summary>
    public SpoolFile? Global { get; init; }

    /// <summary>The SHA-256 of the global model as it was sent.</summary>
    public string? GlobalDigest { get; init; }

    /// <summary>The new model; null if there is none or its file is damaged.</summary>
    public SpoolFile? Result { get; init; }

    /// <summary>The clients. An update whose file is damaged is a fault of its client.</summary>
    public Dictionary<string, ClientEntry> Clients { get; init; } = [];

    /// <summary>The largest number in a file's name.</summary>
    public long LastFile { get; init; }
}
