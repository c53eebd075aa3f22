using System.Buffers;
using System.Collections.Concurrent;

namespace FedICU.Tests;

/// <summary>
/// A model that counts the bytes read of each tensor. By default it lends no memory, so that every byte is read through
/// it.
/// </summary>
internal sealed class CountedSource(MemoryModel model) : TensorSource
{
    private readonly ConcurrentDictionary<string, long> _bytes = [];

    public bool Lends { get; init; }

    public double ReadOf(string name) => (double)_bytes.GetValueOrDefault(name) / model.Find(name)!.ByteLength;

    public override IReadOnlyList<TensorInfo> Tensors => model.Tensors;

    public override IReadOnlyDictionary<string, string> Metadata => model.Metadata;

    public override string Location => model.Location;

    public override void Read(TensorInfo tensor, long offset, Span<byte> destination)
    {
        long bytes = destination.Length;
        _bytes.AddOrUpdate(tensor.Name, bytes, (_, before) => before + bytes);
        model.Read(tensor, offset, destination);
    }

    public override bool TryPin(TensorInfo tensor, out MemoryHandle memory)
    {
        memory = default;
        return Lends && model.TryPin(tensor, out memory);
    }
}
