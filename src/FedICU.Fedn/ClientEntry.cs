namespace FedICU.Fedn;

/// <summary>What a client has sent in a round.</summary>
internal sealed record ClientEntry
{
    /// <summary>The weight from its metadata.</summary>
    public ClientMetadata Metadata { get; init; }

    /// <summary>The safetensors file of its update; null if none arrived or it was refused.</summary>
    public string? Path { get; init; }

    /// <summary>Why there is no file, as the end of a sentence that begins with the client's name.</summary>
    public string Fault { get; init; } = "its metadata arrived, its model did not.";
}
