using System.Buffers;
using System.Collections;
using System.Collections.Frozen;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FedICU.Memory;
using FedICU.Model;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Named tensors in memory. Added data is borrowed, not copied: arrays, <see cref="ReadOnlyMemory{T}"/>, or another
/// framework's memory by its address. Keep it alive and unchanged while the model is used.
/// </summary>
/// <example>
/// <code>
/// var model = new MemoryModel { { "layer.weight", [2, 2], new float[] { 1, 0, 0, 2 } } };
/// </code>
/// </example>
public sealed partial class MemoryModel : TensorSource, IEnumerable<TensorInfo>
{
    // bytes copied to an array at once; chosen below the 2^31 of a span
    private const int LongestRead = 1 << 30;

    private readonly IReadOnlyDictionary<string, string> _metadata;
    private readonly NativeBuffer? _memory;
    private MemoryLayout _layout;
    private bool _isShared;

    /// <summary>Creates a model without tensors.</summary>
    public MemoryModel()
        : this(null)
    {
    }

    /// <summary>Creates a model without tensors.</summary>
    /// <param name="metadata">The model's metadata, for example <c>num_examples</c>; null: none.</param>
    public MemoryModel(IReadOnlyDictionary<string, string>? metadata) =>
        (_metadata, _layout) = (metadata ?? FrozenDictionary<string, string>.Empty, new MemoryLayout());

    /// <summary>
    /// Creates a model in a native buffer. The buffer lives as long as the model is used; reading a freed buffer
    /// throws.
    /// </summary>
    internal MemoryModel(IReadOnlyDictionary<string, string> metadata, MemoryLayout layout, NativeBuffer memory) =>
        (_metadata, _layout, _memory, _isShared) = (metadata, layout, memory, true);

    /// <inheritdoc/>
    public override IReadOnlyList<TensorInfo> Tensors => _layout.Tensors;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <inheritdoc/>
    public override string Location => "memory";

    /// <inheritdoc/>
    public override bool IsInMemory => true;

    /// <summary>
    /// Adds a tensor over managed memory. Its element type is that of the memory: double, float, <see cref="Half"/>,
    /// any integer, bool.
    /// </summary>
    /// <param name="name">The name, unique in this model.</param>
    /// <param name="shape">The dimensions. Their product is the number of elements.</param>
    /// <param name="data">The elements, row-major; borrowed.</param>
    /// <exception cref="ArgumentException">
    /// The model already has this name, the format does not have the element type, or shape and length differ.
    /// </exception>
    public void Add<T>(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<T> data) where T : unmanaged =>
        Add(new TensorInfo(name, DTypeOf<T>(), new TensorShape(shape)), (long)data.Length * Unsafe.SizeOf<T>(), data.Pin);

    /// <inheritdoc cref="Add{T}(string, ReadOnlySpan{long}, ReadOnlyMemory{T})"/>
    public void Add<T>(string name, ReadOnlySpan<long> shape, T[] data) where T : unmanaged => Add(name, shape, (ReadOnlyMemory<T>)data);

    /// <summary>Adds a tensor over raw little-endian bytes, for types that C# does not have (bf16).</summary>
    /// <param name="info">Name, type and shape.</param>
    /// <param name="data">The data; borrowed.</param>
    /// <exception cref="ArgumentException">The model already has this name, or shape and length differ.</exception>
    public void Add(TensorInfo info, ReadOnlyMemory<byte> data) => Add(info, data.Length, data.Pin);

    /// <summary>Adds a tensor over another framework's memory without a copy.</summary>
    /// <param name="info">Name, type and shape.</param>
    /// <param name="data">
    /// The address of <see cref="TensorInfo.ByteLength"/> bytes that stay valid and unchanged while the model is used.
    /// </param>
    /// <exception cref="ArgumentException">The model already has this name.</exception>
    /// <exception cref="ArgumentNullException">The address is 0 and the tensor has elements.</exception>
    public unsafe void Add(TensorInfo info, nint data)
    {
        if (data == 0 && info.ByteLength > 0)
        {
            throw new ArgumentNullException(
                nameof(data),
                $"Tensor '{info.Name}' of {info} has the address 0; that of {Sentence.Count(info.ByteLength, "byte")} was expected.");
        }

        Add(info, info.ByteLength, () => new MemoryHandle((void*)data));
    }

    /// <summary>Copies a tensor's elements to a new array.</summary>
    /// <param name="name">The tensor.</param>
    /// <exception cref="KeyNotFoundException">The model has no tensor with this name.</exception>
    /// <exception cref="ArgumentException">The tensor has another element type.</exception>
    public T[] ToArray<T>(string name) where T : unmanaged
    {
        TensorInfo info = Find(name) ?? throw new KeyNotFoundException($"The model has no tensor '{name}'.");
        if (info.DType != DTypeOf<T>())
        {
            throw new ArgumentException(
                $"Tensor '{name}' is {info.DType.SafetensorsName}, not {DTypeOf<T>().SafetensorsName}.", nameof(name));
        }

        var elements = new T[info.ElementCount];
        // A span counts its bytes in 32 bits, but an array may have more.
        for (long at = 0, most; at < elements.Length; at += most)
        {
            most = Math.Min(LongestRead / Unsafe.SizeOf<T>(), elements.Length - at);
            Read(info, at * Unsafe.SizeOf<T>(), MemoryMarshal.AsBytes(elements.AsSpan((int)at, (int)most)));
        }

        return elements;
    }

    /// <inheritdoc/>
    public override unsafe void Read(TensorInfo tensor, long offset, Span<byte> destination)
    {
        using MemoryHandle memory = Pin(tensor, offset, destination.Length);
        new ReadOnlySpan<byte>((byte*)memory.Pointer + offset, destination.Length).CopyTo(destination);
    }

    /// <inheritdoc/>
    public override bool TryPin(TensorInfo tensor, out MemoryHandle memory) => TryPin(tensor, int.MaxValue, out memory);

    internal override bool TryPin(TensorInfo tensor, int number, out MemoryHandle memory)
    {
        memory = Pin(tensor, 0, tensor.ByteLength, number);
        return true;
    }

    /// <summary>Enumerates the tensors in the order they were added.</summary>
    public IEnumerator<TensorInfo> GetEnumerator() => _layout.Tensors.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private protected override TensorInfo? Lookup(string name) => _layout.Find(name);

    private MemoryHandle Pin(TensorInfo tensor, long offset, long length, int number = int.MaxValue) =>
        _layout.Locate(tensor, offset, length, number) switch
        {
            { Pin: { } pin } => pin(),
            { } place => _memory!.Pin(place.Offset),
            null => throw new ArgumentException($"The model has no tensor {Sentence.Quote(tensor.Name)}.", nameof(tensor)),
        };

    private void Add(TensorInfo info, long byteLength, Func<MemoryHandle> pin)
    {
        if (info.ByteLength != byteLength)
        {
            string given = $"{byteLength} {Sentence.Form(byteLength, "was", "were")} given";
            throw new ArgumentException(
                $"Tensor '{info.Name}' of {info} takes {Sentence.Count(info.ByteLength, "byte")}; {given}.", nameof(info));
        }

        if (_isShared)
            (_layout, _isShared) = (new MemoryLayout(_layout), false);
        _layout.Add(info, new MemoryLayout.Place(byteLength, 0, pin));
    }

    private static DType DTypeOf<T>() where T : unmanaged => default(T) switch
    {
        double => DType.F64,
        float => DType.F32,
        Half => DType.F16,
        long => DType.I64,
        int => DType.I32,
        short => DType.I16,
        sbyte => DType.I8,
        ulong => DType.U64,
        uint => DType.U32,
        ushort => DType.U16,
        byte => DType.U8,
        bool => DType.Bool,
        _ => throw new ArgumentException($"{typeof(T).Name} is not an element type of the safetensors format.", nameof(T)),
    };
}
