namespace FedICU;

/// <summary>
/// A caller's own importance: fills one importance for each magnitude, larger is more important. One call at a time; for a soft mask each is made once more
/// when the tensor is written, and must give the same.
/// </summary>
/// <param name="tensor">The tensor's name.</param>
/// <param name="magnitudes">|x| of all its elements.</param>
/// <param name="importances">Filled.</param>
public delegate void ImportanceFunction(string tensor, ReadOnlySpan<double> magnitudes, Span<double> importances);
