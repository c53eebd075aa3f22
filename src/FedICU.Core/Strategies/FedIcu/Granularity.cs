namespace FedICU;

/// <summary>What the clients' directions are compared over.</summary>
public enum Granularity
{
    /// <summary>Each tensor: every tensor has its own weights. The default.</summary>
    Tensor,
    /// <summary>The whole model: all tensors share one set of weights.</summary>
    Model,
}
