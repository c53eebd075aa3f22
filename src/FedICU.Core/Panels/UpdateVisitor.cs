namespace FedICU.Panels;

/// <summary>Receives consecutive elements of one client's update.</summary>
/// <param name="client">The client's index.</param>
/// <param name="start">The flat index of the first element.</param>
/// <param name="update">The elements.</param>
internal delegate void UpdateVisitor(int client, long start, ReadOnlySpan<double> update);
