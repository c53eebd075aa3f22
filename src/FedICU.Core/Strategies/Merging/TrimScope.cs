namespace FedICU;

/// <summary>Among which elements <see cref="Ties"/> keeps a client's largest.</summary>
public enum TrimScope
{
    /// <summary>Among those of each tensor: the default.</summary>
    Tensor,
    /// <summary>Among those of the whole model.</summary>
    Model,
}
