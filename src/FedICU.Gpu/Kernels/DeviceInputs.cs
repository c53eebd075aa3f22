using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>A verb's inputs on the device.</summary>
internal struct DeviceInputs
{
    /// <summary>The memory that contains all inputs.</summary>
    public ArrayView<byte> Data;

    /// <summary>The offset of each input in <see cref="Data"/>, in bytes.</summary>
    public ArrayView<long> Offsets;

    public readonly int Count => (int)Offsets.Length;

    /// <summary>Gets the index of an input's first element, in elements from the start of <see cref="Data"/>.</summary>
    public readonly long FirstIndex<T>(int input) where T : struct, IElement => Offsets[input] >> T.Log2Size;

    public readonly double Read<T>(int input, long index) where T : struct, IElement => T.Read(Data, FirstIndex<T>(input) + index);
}
