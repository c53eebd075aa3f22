namespace FedICU.Panels;

/// <summary>Tells the round that a tensor's results are not finite. The round then searches for the cause.</summary>
/// <param name="tensor">The tensor.</param>
/// <param name="description">The error sentence if all inputs turn out to be finite.</param>
internal sealed class NonFiniteOutputException(TensorInfo tensor, string description) : Exception(description)
{
    public TensorInfo Tensor => tensor;
}
