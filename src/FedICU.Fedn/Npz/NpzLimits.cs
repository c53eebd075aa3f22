namespace FedICU.Fedn.Npz;

/// <summary>The limits for an npz archive.</summary>
/// <param name="MaxTensors">The most entries of the archive.</param>
/// <param name="MaxBytes">The most bytes of all entries, unpacked.</param>
/// <param name="MaxExpansion">The largest ratio of the unpacked bytes to the archive's size.</param>
internal sealed record NpzLimits(int MaxTensors, long MaxBytes, double MaxExpansion);
