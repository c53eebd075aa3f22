namespace FedICU.Strategies.Abstractions;

/// <summary>A tensor's results are not finite; the round looks for the cause.</summary>
/// <param name="tensor">The tensor.</param>
/// <param name="fromFinite">What is said of it where all inputs are finite.</param>
internal sealed class NonFiniteOutputException(TensorInfo tensor, string fromFinite) : Exception(fromFinite)
{
    public TensorInfo Tensor => tensor;
}
