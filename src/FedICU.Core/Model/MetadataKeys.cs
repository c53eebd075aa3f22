namespace FedICU;

/// <summary>Metadata keys that the library reads and writes (docs/getting-started.md; of packed updates docs/adr/0006).</summary>
public static class MetadataKeys
{
    /// <summary>full | delta | sparse.</summary>
    public const string Update = "fedicu.update";

    /// <summary>The digest of the model the update was made against.</summary>
    public const string Base = "fedicu.base";

    /// <summary>What a client's state is, <c>momentum</c>; absent in models and updates.</summary>
    public const string State = "fedicu.state";

    /// <summary>Prefix of the key that keeps a packed tensor's shape.</summary>
    public const string ShapePrefix = "fedicu.shape.";

    /// <summary>The client's number of examples.</summary>
    public const string Examples = "num_examples";

    /// <summary>The number of the round.</summary>
    public const string Round = "round";

    /// <summary>
    /// Which writing of a folder a shard belongs to. It describes the file, not the model: no source shows it (docs/adr/0015).
    /// </summary>
    internal const string Generation = "fedicu.generation";

    /// <summary>The checksum of the adapter_config.json that an adapter's weights belong to; shown by no source either.</summary>
    internal const string Config = "fedicu.config";

    /// <summary>The value of <see cref="Update"/> for a kind.</summary>
    internal static string Text(this UpdateKind kind) => kind switch
    {
        UpdateKind.Full => "full",
        UpdateKind.Delta => "delta",
        UpdateKind.Sparse => "sparse",
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };
}
