namespace FedICU.Fedn;

/// <summary>What a client has sent in a round.</summary>
internal sealed record ClientEntry
{
    /// <summary>The weight from its metadata; null if no metadata arrived.</summary>
    public ClientMetadata? Metadata { get; init; }

    /// <summary>The safetensors file of its update; null if none arrived or it was refused.</summary>
    public SpoolFile? File { get; init; }

    /// <summary>
    /// Why its update was refused, as the end of a sentence that begins with the client's name; null if it was not.
    /// </summary>
    public string? Fault { get; init; }

    /// <summary>Why there is no file, as the end of a sentence that begins with the client's name.</summary>
    public string WhyMissing => Fault ?? "its metadata arrived, its model did not.";

    /// <summary>Whether nothing has arrived.</summary>
    public bool IsEmpty => Metadata is null && File is null && Fault is null;
}
