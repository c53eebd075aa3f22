namespace FedICU.Compute;

/// <summary>
/// The panels of an <see cref="AdaptiveStep"/>. Without a global model, the merged values are the update D and the
/// output is u; otherwise D = merged - x, and the output is x + u.
/// </summary>
/// <param name="Merged">The merged values, F64.</param>
/// <param name="Global">The global model x; without data if the merged values are the update.</param>
/// <param name="M">The first moment.</param>
/// <param name="V">The second moment.</param>
/// <param name="Output">Receives the result; of the type of <paramref name="Global"/>, or F64. May be Merged.</param>
/// <param name="NextM">Receives the next first moment; of the type of M. May be M.</param>
/// <param name="NextV">Receives the next second moment; of the type of M. May be V.</param>
internal readonly record struct AdaptivePanels(
    TensorPanel Merged, TensorPanel Global, TensorPanel M, TensorPanel V, TensorPanel Output, TensorPanel NextM, TensorPanel NextV);
