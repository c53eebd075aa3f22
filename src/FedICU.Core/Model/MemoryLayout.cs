using System.Buffers;
using FedICU.Memory;

namespace FedICU.Model;

/// <summary>
/// The tensors of a model in memory, by number and by name, and where each lies. The models that one sink keeps one after the other share it, so that a tensor costs the
/// next model nothing.
/// </summary>
internal sealed class MemoryLayout
{
    private readonly List<TensorInfo> _tensors;
    private readonly List<Place> _places;
    private readonly Dictionary<string, int> _numbers;

    public MemoryLayout() => (_tensors, _places, _numbers) = ([], [], new(StringComparer.Ordinal));

    /// <summary>A copy, to which more may be added.</summary>
    public MemoryLayout(MemoryLayout other) =>
        (_tensors, _places, _numbers, Bytes) = ([.. other._tensors], [.. other._places], new(other._numbers, StringComparer.Ordinal), other.Bytes);

    /// <summary>Tensors one after the other in memory of our own.</summary>
    public MemoryLayout(IReadOnlyList<TensorInfo> tensors) : this()
    {
        foreach (TensorInfo tensor in tensors)
        {
            long bytes = tensor.ByteLength;
            Add(tensor, new Place(bytes, Bytes, null));
            Bytes = checked(Bytes + NativeBuffer.Align(bytes));
        }
    }

    /// <summary>The tensors in the order they were added.</summary>
    public List<TensorInfo> Tensors => _tensors;

    /// <summary>The bytes of memory of our own.</summary>
    public long Bytes { get; }

    /// <summary>Adds a tensor.</summary>
    /// <exception cref="ArgumentException">The name stands already.</exception>
    public void Add(TensorInfo info, Place place)
    {
        if (!_numbers.TryAdd(info.Name, _tensors.Count))
            throw new ArgumentException($"Tensor '{info.Name}' stands twice.", nameof(info));
        _tensors.Add(info);
        _places.Add(place);
    }

    public TensorInfo? Find(string name) => _numbers.TryGetValue(name, out int number) ? _tensors[number] : null;

    /// <summary>Where a tensor's bytes offset .. offset + length - 1 are.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="offset">The first byte.</param>
    /// <param name="length">How many.</param>
    /// <param name="number">Its number, where the caller thinks to know it: then it need not be looked up.</param>
    /// <returns>Null where there is no such tensor.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are not all of the tensor.</exception>
    public Place? Locate(TensorInfo tensor, long offset, long length, int number = int.MaxValue)
    {
        if ((number >= _tensors.Count || !ReferenceEquals(_tensors[number], tensor)) && !_numbers.TryGetValue(tensor.Name, out number))
            return null;
        Place place = _places[number];
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, place.ByteLength - length);
        return place;
    }

    /// <summary>Where a tensor lies.</summary>
    /// <param name="ByteLength">Its bytes.</param>
    /// <param name="Offset">The first of them in memory of our own.</param>
    /// <param name="Pin">Lends others' memory; null where the tensor is in our own.</param>
    public readonly record struct Place(long ByteLength, long Offset, Func<MemoryHandle>? Pin);
}
