using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Rounds.Lora;

/// <summary>Holds the merged factors of one LoRA pair at a time, until they are rewritten and written.</summary>
internal sealed unsafe class PairBuffer : TensorSink, IDisposable
{
    private readonly Dictionary<string, NativeBuffer> _factors = new(StringComparer.Ordinal);

    /// <summary>Makes room for a pair's factors in the output's types.</summary>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        Dispose();
        foreach (TensorInfo tensor in tensors)
            _factors.Add(tensor.Name, new NativeBuffer(tensor.ByteLength));
    }

    public override void* TryGetPointer(TensorInfo tensor) => _factors[tensor.Name].Pointer;

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) =>
        source.CopyTo(new Span<byte>(_factors[tensor.Name].Pointer + offset, source.Length));

    public TensorPanel GetPanel(TensorInfo tensor) => new(_factors[tensor.Name].Pointer, tensor.DType);

    /// <summary>Writes a factor to the output.</summary>
    public void CopyTo(TensorSink output, TensorInfo tensor, CancellationToken cancellationToken)
    {
        // bytes that are written at a time: chosen, any number that a span holds
        const int MostBytes = 1 << 28;
        for (long start = 0; start < tensor.ByteLength; start += MostBytes)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int bytes = (int)Math.Min(MostBytes, tensor.ByteLength - start);
            output.Write(tensor, start, new ReadOnlySpan<byte>(_factors[tensor.Name].Pointer + start, bytes));
        }
    }

    public override void Commit() { }

    public override void Abort() { }

    public void Dispose()
    {
        foreach (NativeBuffer factor in _factors.Values)
            factor.Dispose();
        _factors.Clear();
    }
}
