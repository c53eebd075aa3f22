namespace FedICU;

/// <summary>The name, element type and shape of a tensor, without its data.</summary>
/// <param name="Name">The name, unique within its model. Names are compared ordinally.</param>
/// <param name="DType">The element type.</param>
/// <param name="Shape">The dimensions, row-major.</param>
public sealed record TensorInfo(string Name, DType DType, TensorShape Shape)
{
    /// <summary>Gets the number of elements.</summary>
    public long ElementCount => Shape.ElementCount;

    /// <summary>Gets the length of the data in bytes: the elements' bits, rounded up to whole bytes.</summary>
    public long ByteLength => ByteLengthOf(DType, Shape.ElementCount) ??
        throw new OverflowException($"Tensor '{Name}' of {DType.SafetensorsName} {Shape} has more bytes than 64 bits can count.");

    /// <summary>
    /// Returns the length in bytes of <paramref name="elements"/> elements, or null if it does not fit in 64 bits.
    /// </summary>
    internal static long? ByteLengthOf(DType dtype, long elements)
    {
        // Avoids 128-bit arithmetic in the usual case.
        if (elements < long.MaxValue / 128)
            return (elements * dtype.BitSize + 7) / 8;
        Int128 bytes = ((Int128)elements * dtype.BitSize + 7) / 8;
        return bytes > long.MaxValue ? null : (long)bytes;
    }

    /// <summary>Returns the type and shape: <c>F32 [4096, 8]</c>.</summary>
    public override string ToString() => $"{DType.SafetensorsName} {Shape}";
}
