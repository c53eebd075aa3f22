namespace FedICU;

/// <summary>Computes one output element from all clients' values of that element.</summary>
/// <param name="values">
/// The clients' values in the order of <see cref="TensorContext.Clients"/>; may be overwritten.
/// </param>
/// <returns>The output element.</returns>
public delegate double ElementRule(Span<double> values);
