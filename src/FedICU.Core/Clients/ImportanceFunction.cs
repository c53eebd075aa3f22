namespace FedICU;

/// <summary>
/// Computes the importance of each entry of a tensor from its magnitude; a larger importance is more important.
/// </summary>
/// <remarks>
/// Only one thread calls it at a time. For a soft mask it is called again when the tensor is written, and must then
/// compute the same importances.
/// </remarks>
/// <param name="tensor">The tensor's name.</param>
/// <param name="magnitudes">The magnitude |x| of each element.</param>
/// <param name="importances">Receives one finite importance for each element.</param>
public delegate void ImportanceFunction(string tensor, ReadOnlySpan<double> magnitudes, Span<double> importances);
