namespace FedICU;

/// <summary>Makes one output element of all clients' values of it.</summary>
/// <param name="values">The clients' values in the order of <see cref="TensorContext.Clients"/>; may be overwritten.</param>
public delegate double ElementRule(Span<double> values);
