using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Rounds.Lora;

/// <summary>
/// Holds the factors of LoRA pairs back and writes others of the same product B A in the end: B T and T^-1 A with
/// (B T)^T (B T) = (T^-1 A) (T^-1 A)^T = diag(s), s the singular values of B A. All else passes through.
/// </summary>
/// <param name="output">Where all is written.</param>
/// <param name="pairs">The pairs, of tensors of the global model.</param>
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

    /// <summary>Balances all pairs, side by side, and writes them.</summary>
    /// <returns>The pairs that could not be balanced and are written as they are.</returns>
    public ILookup<string, LoraPair> Balance(Workers workers, IComputeBackend backend)
    {
        string?[] obstacles = new string?[pairs.Count];
        workers.Run(pairs.Count, parallel: true, (i, scratch) =>
        {
            (TensorInfo a, TensorInfo b) = (_held[pairs[i].A.Name].Tensor, _held[pairs[i].B.Name].Tensor);
            var factors = new PairBalance(pairs[i] with { A = a, B = b }, Panel(a), Panel(b), backend, scratch, workers.CancellationToken);
            obstacles[i] = factors.Run();
            WriteHeld(a, workers.CancellationToken);
            WriteHeld(b, workers.CancellationToken);
        });
        return Enumerable.Range(0, pairs.Count).Where(i => obstacles[i] is not null).ToLookup(i => obstacles[i]!, i => pairs[i]);
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
        foreach ((long start, int count) in PairBalance.Pieces(factor.ByteLength))
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
