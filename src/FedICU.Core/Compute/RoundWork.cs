using System.Collections.Concurrent;

namespace FedICU.Compute;

/// <summary>
/// Counts the bytes of inputs that each backend computed with in one round. Rounds that share a backend have one count
/// each. Thread-safe.
/// </summary>
internal sealed class RoundWork
{
    /// <summary>The name under which work on the CPU is counted.</summary>
    private const string Cpu = "simd";

    private readonly ConcurrentDictionary<string, long> _bytes = new(StringComparer.Ordinal);

    /// <summary>Starts a round's count.</summary>
    /// <param name="backend">The backend that the caller gave.</param>
    public RoundWork(IComputeBackend backend)
    {
        // any other backend is the CPU, as are the loops outside of backends: there is nothing to distinguish
        bool counts = backend is IRoutingBackend || backend.Device is not null;
        Backend = backend is IRoutingBackend routing ? routing.Counted(this) : counts ? new CountingBackend(backend, this) : backend;
        Counts = counts;
    }

    /// <summary>Gets the backend for the round: the caller's backend, counted.</summary>
    public IComputeBackend Backend { get; }

    /// <summary>Gets the shares, the largest first; empty if nothing was computed.</summary>
    public IReadOnlyList<BackendShare> Shares
    {
        get
        {
            if (!Counts)
                return [new BackendShare(Backend.Name, 1)];
            KeyValuePair<string, long>[] counted =
            [
                .. _bytes.Where(pair => pair.Value > 0)
                    .OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal),
            ];
            double all = counted.Sum(pair => (double)pair.Value);
            return [.. counted.Select(pair => new BackendShare(pair.Key, pair.Value / all))];
        }
    }

    private bool Counts { get; }

    /// <summary>Counts bytes that a backend computed with.</summary>
    public void Add(string backend, long bytes) => _bytes.AddOrUpdate(backend, bytes, (_, before) => before + bytes);

    /// <summary>Counts inputs that the CPU computed with outside of a backend.</summary>
    public void AddOnCpu(ReadOnlySpan<TensorPanel> inputs, int length)
    {
        if (Counts)
            Add(Cpu, BytesOf(inputs, length));
    }

    /// <summary>Returns the bytes of inputs of one length.</summary>
    public static long BytesOf(ReadOnlySpan<TensorPanel> inputs, int length)
    {
        long bytes = 0;
        foreach (TensorPanel input in inputs)
            bytes += HasNoData(input) ? 0 : (long)length * (input.DType.BitSize / 8);
        return bytes;
    }

    private static unsafe bool HasNoData(TensorPanel panel) => panel.Data is null;
}
