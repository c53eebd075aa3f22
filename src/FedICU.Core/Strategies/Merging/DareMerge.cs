namespace FedICU;

/// <summary>How <see cref="Dare"/> merges what its masks leave.</summary>
public enum DareMerge
{
    /// <summary>The weighted sum: the default.</summary>
    Linear,
    /// <summary>A sign is elected, and the agreeing updates are merged, as in <see cref="Ties"/>.</summary>
    Ties,
}
