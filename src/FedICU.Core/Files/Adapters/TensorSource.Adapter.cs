namespace FedICU;

public abstract partial class TensorSource
{
    /// <summary>Gets the configuration of a PEFT adapter; null if the source has none.</summary>
    public virtual PeftAdapterConfig? AdapterConfig => null;
}
