namespace FedICU;

/// <summary>Over what a client's similarity is taken.</summary>
public enum Granularity
{
    /// <summary>Each tensor has its own weights: the default.</summary>
    Tensor,
    /// <summary>One set of weights for the whole model.</summary>
    Model,
}
