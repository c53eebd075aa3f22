namespace FedICU;

/// <summary>
/// Computes a block of the output from all clients' values: the rule of <see cref="TensorContext.ForEachBlock"/>.
/// </summary>
/// <param name="block">The values, and the place of the result.</param>
public delegate void BlockRule(ClientBlock block);
