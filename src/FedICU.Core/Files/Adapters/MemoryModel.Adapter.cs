namespace FedICU;

public sealed partial class MemoryModel
{
    /// <summary>Creates a PEFT adapter without tensors, which a round reads like one in a folder.</summary>
    /// <param name="adapterConfig">The adapter's configuration; null if there is none.</param>
    /// <param name="metadata">The model's metadata; null if there are none.</param>
    public MemoryModel(PeftAdapterConfig? adapterConfig, IReadOnlyDictionary<string, string>? metadata) : this(metadata) =>
        AdapterConfig = adapterConfig;

    /// <inheritdoc/>
    public override PeftAdapterConfig? AdapterConfig { get; }
}
