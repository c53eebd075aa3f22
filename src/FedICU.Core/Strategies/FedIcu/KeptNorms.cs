using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using FedICU.Memory;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// The norms of the columns of a round's tensors, kept between the passes of <see cref="Granularity.Model"/> over each
/// tensor, so that they are measured once. What does not fit is measured again, with the same bits.
/// </summary>
internal sealed class KeptNorms
{
    // bytes of norms that a round keeps at most: chosen, the norms of ten adapters of a model of 7 billion parameters
    private const long MostBytes = 256 << 20;

    private static readonly ConditionalWeakTable<RoundPlan, KeptNorms> OfRounds = [];

    private readonly ConcurrentDictionary<string, GroupBuffer> _norms = new(StringComparer.Ordinal);
    private long _bytes;

    private KeptNorms() { }

    public static KeptNorms Of(RoundPlan plan) => OfRounds.GetValue(plan, static _ => new KeptNorms());

    /// <summary>Keeps a copy of a tensor's norms if there is room.</summary>
    public void Keep(string tensor, GroupBuffer norms)
    {
        long bytes = norms.Inputs * norms.Groups * sizeof(double);
        if (Interlocked.Add(ref _bytes, bytes) > MostBytes)
        {
            Interlocked.Add(ref _bytes, -bytes);
            return;
        }

        // the merge takes it; after a round that failed, the garbage collector does
        var kept = new GroupBuffer(bytes, pool: null);
        kept.MarkLent(norms.Inputs, norms.Groups);
        for (int k = 0; k < norms.Inputs; k++)
            norms[k].CopyTo(kept[k]);
        _norms[tensor] = kept;
    }

    /// <summary>Returns a tensor's norms, which stay here; null if they were not kept.</summary>
    public GroupBuffer? Find(string tensor) => _norms.GetValueOrDefault(tensor);

    /// <summary>Removes a tensor's norms for their last use; null if they were not kept.</summary>
    public GroupBuffer? Take(string tensor)
    {
        if (!_norms.TryRemove(tensor, out GroupBuffer? norms))
            return null;
        Interlocked.Add(ref _bytes, -norms.Inputs * norms.Groups * sizeof(double));
        return norms;
    }
}
