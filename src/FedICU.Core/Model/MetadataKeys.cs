namespace FedICU;

/// <summary>
/// The metadata keys that the library reads and writes (docs/getting-started.md; for packed updates docs/adr/0006).
/// </summary>
public static class MetadataKeys
{
    /// <summary>The kind of the update: full, delta or sparse.</summary>
    public const string Update = "fedicu.update";

    /// <summary>The digest of the model that the update was made against.</summary>
    public const string Base = "fedicu.base";

    /// <summary>
    /// The kind of a state; absent in models and updates. A client's state has <c>momentum</c>, a server's the names of
    /// the strategy's stages, joined by commas.
    /// </summary>
    public const string State = "fedicu.state";

    /// <summary>Prefix of the keys that store the shapes of packed tensors.</summary>
    public const string ShapePrefix = "fedicu.shape.";

    /// <summary>The client's number of examples.</summary>
    public const string Examples = "num_examples";

    /// <summary>The number of the round.</summary>
    public const string Round = "round";

    /// <summary>The number of rounds that a server's state has been through.</summary>
    internal const string Rounds = "rounds";

    /// <summary>The client's number of local training steps.</summary>
    public const string LocalSteps = "local_steps";

    /// <summary>The client's loss.</summary>
    public const string Loss = "loss";

    /// <summary>How many rounds the update is late.</summary>
    public const string Staleness = "staleness";

    /// <summary>The divisor that makes the client's local steps comparable.</summary>
    public const string Normalizer = "normalizer";

    /// <summary>
    /// The generation: which write of a folder a shard belongs to. It describes the file, not the model, so sources do
    /// not show it (docs/adr/0015).
    /// </summary>
    internal const string Generation = "fedicu.generation";

    /// <summary>
    /// The checksum of the adapter_config.json that an adapter's weights belong to. Sources do not show it either.
    /// </summary>
    internal const string Config = "fedicu.config";

    /// <summary>Returns the value of <see cref="Update"/> for a kind.</summary>
    internal static string Text(this UpdateKind kind) => kind switch
    {
        UpdateKind.Full => "full",
        UpdateKind.Delta => "delta",
        UpdateKind.Sparse => "sparse",
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };

    /// <summary>Returns the kind for a value of <see cref="Update"/>, or null if the value is unknown.</summary>
    internal static UpdateKind? ParseKind(string text) => text switch
    {
        "full" => UpdateKind.Full,
        "delta" => UpdateKind.Delta,
        "sparse" => UpdateKind.Sparse,
        _ => null,
    };
}
