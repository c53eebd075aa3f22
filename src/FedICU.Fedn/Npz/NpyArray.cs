namespace FedICU.Fedn.Npz;

/// <summary>The content of a .npy header.</summary>
/// <param name="Tensor">The tensor, as it is once its bytes are little-endian.</param>
/// <param name="HeaderLength">The number of bytes before the data.</param>
/// <param name="SwappedWidth">
/// The width in bytes of each number whose bytes must be reversed; 0 if the data are little-endian.
/// </param>
internal readonly record struct NpyArray(TensorInfo Tensor, long HeaderLength, int SwappedWidth);
