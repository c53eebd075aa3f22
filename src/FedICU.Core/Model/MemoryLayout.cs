using System.Buffers;
using FedICU.Memory;

namespace FedICU.Model;

/// <summary>
/// The tensors of a model in memory, by number and by name, and the location of each. Successive models of one sink
/// share their layout, so that a new model needs no memory per tensor.
/// </summary>
internal sealed class MemoryLayout
{
    private readonly List<TensorInfo> _tensors;
    private readonly List<Place> _places;
    private readonly Dictionary<string, int> _numbers;

    public MemoryLayout() => (_tensors, _places, _numbers) = ([], [], new(StringComparer.Ordinal));

    /// <summary>Creates a copy to which more tensors may be added.</summary>
    public MemoryLayout(MemoryLayout other)
    {
        (_tensors, _places) = ([.. other._tensors], [.. other._places]);
        (_numbers, Bytes) = (new(other._numbers, StringComparer.Ordinal), other.Bytes);
    }

    /// <summary>Places tensors one after the other in a single native buffer.</summary>
    public MemoryLayout(IReadOnlyList<TensorInfo> tensors) : this()
    {
        foreach (TensorInfo tensor in tensors)
        {
            long bytes = tensor.ByteLength;
            Add(tensor, new Place(bytes, Bytes, null));
            Bytes = checked(Bytes + NativeBuffer.Align(bytes));
        }
    }

    /// <summary>Gets the tensors in the order they were added.</summary>
    public List<TensorInfo> Tensors => _tensors;

    /// <summary>Gets the bytes of the native buffer.</summary>
    public long Bytes { get; }

    /// <summary>Adds a tensor.</summary>
    /// <exception cref="ArgumentException">A tensor with this name was already added.</exception>
    public void Add(TensorInfo info, Place place)
    {
        if (!_numbers.TryAdd(info.Name, _tensors.Count))
            throw new ArgumentException($"The model already has a tensor '{info.Name}'.", nameof(info));
        _tensors.Add(info);
        _places.Add(place);
    }

    public TensorInfo? Find(string name) => _numbers.TryGetValue(name, out int number) ? _tensors[number] : null;

    /// <summary>
    /// Finds the location of a tensor and checks that the bytes offset .. offset + length - 1 lie within it.
    /// </summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="offset">The first byte.</param>
    /// <param name="length">The number of bytes.</param>
    /// <param name="number">The tensor's number if the caller expects to know it, which saves a lookup by name.</param>
    /// <returns>Null if there is no such tensor.</returns>
    /// <exception cref="ArgumentOutOfRangeException">Some of the bytes lie outside the tensor.</exception>
    public Place? Locate(TensorInfo tensor, long offset, long length, int number = int.MaxValue)
    {
        if ((number >= _tensors.Count || !ReferenceEquals(_tensors[number], tensor)) && !_numbers.TryGetValue(tensor.Name, out number))
            return null;
        Place place = _places[number];
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, place.ByteLength - length);
        return place;
    }

    /// <summary>The location of a tensor.</summary>
    /// <param name="ByteLength">The length in bytes.</param>
    /// <param name="Offset">The position in the native buffer.</param>
    /// <param name="Pin">Pins borrowed memory; null if the tensor is in the native buffer.</param>
    public readonly record struct Place(long ByteLength, long Offset, Func<MemoryHandle>? Pin);
}
