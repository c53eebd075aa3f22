using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Rounds.Lora;

/// <summary>
/// Keeps the factors of LoRA pairs in memory and balances them before it writes them. It writes B T and T^-1 A, whose
/// product B A is unchanged, with (B T)^T (B T) = (T^-1 A) (T^-1 A)^T = diag(s), s the singular values of B A. All
/// other tensors pass through.
/// </summary>
/// <param name="output">Receives all tensors.</param>
/// <param name="pairs">The pairs; their tensors are the global model's.</param>
internal sealed unsafe class BalancedSink(TensorSink output, IReadOnlyList<LoraPair> pairs) : TensorSink
{
    private readonly Dictionary<string, (TensorInfo Tensor, NativeBuffer Data)> _held = new(StringComparer.Ordinal);

    internal override (string Path, bool IsFolder)? Place => output.Place;

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var factors = pairs.SelectMany(pair => (string[])[pair.A.Name, pair.B.Name]).ToHashSet(StringComparer.Ordinal);
        try
        {
            foreach (TensorInfo factor in tensors.Where(tensor => factors.Contains(tensor.Name)))
                _held.Add(factor.Name, (factor, new NativeBuffer(factor.ByteLength)));
            output.Begin(tensors, metadata);
        }
        catch
        {
            Free();
            throw;
        }
    }

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
    {
        if (_held.TryGetValue(tensor.Name, out var held))
            source.CopyTo(new Span<byte>(held.Data.Pointer + offset, source.Length));
        else
            output.Write(tensor, offset, source);
    }

    public override void* TryGetPointer(TensorInfo tensor) =>
        _held.TryGetValue(tensor.Name, out var held) ? held.Data.Pointer : output.TryGetPointer(tensor);

    /// <summary>Balances all pairs, in parallel, and writes them.</summary>
    /// <returns>The pairs that could not be balanced and were written unchanged, by the reason.</returns>
    public ILookup<string, LoraPair> Balance(Workers workers, IComputeBackend backend)
    {
        string?[] reasons = new string?[pairs.Count];
        workers.Run(pairs.Count, parallel: true, (i, scratch) =>
        {
            (TensorInfo a, TensorInfo b) = (_held[pairs[i].A.Name].Tensor, _held[pairs[i].B.Name].Tensor);
            var factors = new PairBalance(pairs[i] with { A = a, B = b }, Panel(a), Panel(b), backend, scratch, workers.CancellationToken);
            reasons[i] = factors.TryRun();
            WriteHeld(a, workers.CancellationToken);
            WriteHeld(b, workers.CancellationToken);
        });
        return Enumerable.Range(0, pairs.Count).Where(i => reasons[i] is not null).ToLookup(i => reasons[i]!, i => pairs[i]);
    }

    public override void Commit()
    {
        output.Commit();
        Free();
    }

    public override void Abort()
    {
        output.Abort();
        Free();
    }

    private TensorPanel Panel(TensorInfo factor) => new(_held[factor.Name].Data.Pointer, factor.DType);

    private void WriteHeld(TensorInfo factor, CancellationToken cancellationToken)
    {
        byte* data = _held[factor.Name].Data.Pointer;
        foreach ((long start, int count) in PairBalance.Split(factor.ByteLength))
        {
            cancellationToken.ThrowIfCancellationRequested();
            output.Write(factor, start, new ReadOnlySpan<byte>(data + start, count));
        }
    }

    private void Free()
    {
        foreach (var held in _held.Values)
            held.Data.Dispose();
        _held.Clear();
    }
}
