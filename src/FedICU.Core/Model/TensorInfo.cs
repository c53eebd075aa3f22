namespace FedICU;

/// <summary>A tensor's name, element type and shape; not its data.</summary>
/// <param name="Name">The name, unique within its model; compared ordinally.</param>
/// <param name="DType">The element type.</param>
/// <param name="Shape">The dimensions, row-major.</param>
public sealed record TensorInfo(string Name, DType DType, TensorShape Shape)
{
    /// <summary>How many elements the tensor has.</summary>
    public long ElementCount => Shape.ElementCount;

    /// <summary>How many bytes the data take: the elements' bits, rounded up to whole bytes.</summary>
    public long ByteLength => ByteLengthOf(DType, Shape.ElementCount) ??
        throw new OverflowException($"Tensor '{Name}' of {DType.SafetensorsName} {Shape} has more bytes than 64 bits can count.");

    /// <summary>The bytes of <paramref name="elements"/> elements, null where they do not fit 64 bits.</summary>
    internal static long? ByteLengthOf(DType dtype, long elements)
    {
        // nearly always they fit, and then need no wide arithmetic
        if (elements < long.MaxValue / 128)
            return (elements * dtype.BitSize + 7) / 8;
        Int128 bytes = ((Int128)elements * dtype.BitSize + 7) / 8;
        return bytes > long.MaxValue ? null : (long)bytes;
    }

    /// <summary>The type and shape in one word: <c>F32 [4096, 8]</c>.</summary>
    public override string ToString() => $"{DType.SafetensorsName} {Shape}";
}
