using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Reads a tensor's elements as the source stores them. If a client's source cannot be read, the exception names the
/// client. A disposed reader may be opened for another tensor.
/// </summary>
internal sealed unsafe class DensePanelReader : PanelReader
{
    private TensorSource _source;
    private TensorInfo _tensor;
    private int _elementSize;
    private (string Client, string Tensor)? _owner;
    private MemoryHandle _memory;
    private NativeBuffer? _loaded;
    private byte* _pointer;
    private bool _onDevice;

    /// <summary>Opens a tensor of a source.</summary>
    /// <param name="source">The source; borrowed.</param>
    /// <param name="tensor">One of its tensors.</param>
    /// <param name="owner">
    /// The client that sent the source, and the tensor's name in the global model; null if it is not a client's.
    /// </param>
    /// <param name="number">The tensor's likely number in the source, which spares a search.</param>
    /// <param name="onDevice">Whether panels are addresses of the source's device.</param>
    public DensePanelReader(
        TensorSource source, TensorInfo tensor, (string Client, string Tensor)? owner = null, int number = int.MaxValue,
        bool onDevice = false) =>
        Open(source, tensor, owner, number, onDevice);

    /// <summary>Opens another tensor with a disposed reader. The parameters are the constructor's.</summary>
    [MemberNotNull(nameof(_source), nameof(_tensor))]
    public void Open(TensorSource source, TensorInfo tensor, (string Client, string Tensor)? owner, int number, bool onDevice)
    {
        (_source, _tensor, _elementSize, _owner, _onDevice) = (source, tensor, tensor.DType.BitSize / 8, owner, onDevice);
        if (onDevice)
            _pointer = (byte*)source.AddressOnDevice(tensor);
        else if (source.TryPin(tensor, number, out _memory))
            _pointer = (byte*)_memory.Pointer;
    }

    public override DType DType => _tensor.DType;

    public override bool IsInMemory => _pointer is not null;

    public override bool IsOnDevice => _onDevice;

    public override long PreloadBytes => _pointer is null ? _tensor.ByteLength : 0;

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        if (_pointer is not null)
            return new TensorPanel(_pointer + start * _elementSize, DType, _onDevice);
        byte* copy = scratch.Take((long)count * _elementSize);
        Fill(start * _elementSize, new Span<byte>(copy, count * _elementSize));
        return new TensorPanel(copy, DType);
    }

    /// <summary>Reads elements into memory that the caller may overwrite.</summary>
    public TensorPanel ReadCopy(long start, int count, Scratch scratch)
    {
        TensorPanel panel = Read(start, count, scratch);
        if (_pointer is null)
            return panel;
        int bytes = count * _elementSize;
        var copy = new TensorPanel(scratch.Take(bytes), DType);
        new ReadOnlySpan<byte>(panel.Data, bytes).CopyTo(new Span<byte>(copy.Data, bytes));
        return copy;
    }

    public override void Preload(NativePool memory)
    {
        if (_pointer is not null)
            return;
        var loaded = memory.Rent(_tensor.ByteLength);
        _loaded = loaded;
        Fill(0, new Span<byte>(loaded.Pointer, checked((int)_tensor.ByteLength)));
        _pointer = loaded.Pointer;
    }

    public override void Forget(long start, long count) => _source.Forget(_tensor, start * _elementSize, count * _elementSize);

    public override void Dispose()
    {
        _pointer = null;
        _memory.Dispose();
        _loaded?.Dispose();
        _loaded = null;
    }

    private void Fill(long offset, Span<byte> destination)
    {
        try
        {
            _source.Read(_tensor, offset, destination);
        }
        catch (InvalidModelException broken) when (_owner is var (client, tensor))
        {
            throw new RoundRejectedException(client, tensor, broken);
        }
    }
}
