using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// The sums of each group by segment, which <see cref="Merge"/> adds up to sums over the whole tensor. The segments,
/// and so the result, depend only on the shape and the number of inputs.
/// </summary>
internal readonly unsafe struct PartialSums : IDisposable
{
    private readonly NativePool _memory;
    private readonly Grouping _grouping;
    private readonly List<Grouping.Segment> _segments;
    private readonly int _accumulators;
    private readonly GroupBuffer _sums;
    private readonly NativeBuffer? _partial;

    /// <summary>Rents memory for <paramref name="accumulators"/> sums of each group.</summary>
    public PartialSums(NativePool memory, Grouping grouping, List<Grouping.Segment> segments, int accumulators)
    {
        (_memory, _grouping, _segments, _accumulators) = (memory, grouping, segments, accumulators);
        // a single segment is the whole tensor
        _sums = memory.Rent(accumulators, grouping.FoldedGroups, clear: segments.Count != 1);
        _partial = segments.Count == 1 ? null : memory.Rent(Length * sizeof(double));
    }

    private long Length => _segments.Count == 0 ? 0 : (_segments[^1].Before + _segments[^1].Groups) * _accumulators;

    /// <summary>Sets the sums of a segment to 0.</summary>
    public GroupValues Begin(int segment) => Begin(segment, 0, _accumulators);

    /// <summary>Sets the sums first .. last - 1 of a segment to 0.</summary>
    public GroupValues Begin(int segment, int first, int last)
    {
        long groups = _segments[segment].Groups;
        double* sums = (_partial is null ? _sums.Data : GetPartial(segment)) + first * groups;
        NativeMemory.Clear(sums, (nuint)((last - first) * groups) * sizeof(double));
        return new GroupValues(sums, groups);
    }

    /// <summary>
    /// Adds the segments' sums in ascending order, then the folded copies of each group. The caller disposes the
    /// result.
    /// </summary>
    public GroupBuffer Merge(Workers workers)
    {
        if (_partial is not null)
            workers.Run(_accumulators, Length >= Workers.WorthThreads, this, static (all, k, _) => all.MergeSegments(k));
        if (_grouping.Fold == 1)
            return _sums;
        using GroupBuffer folded = _sums;
        var merged = _memory.Rent(_accumulators, _grouping.Groups, clear: false);
        for (int k = 0; k < _accumulators; k++)
        {
            ReadOnlySpan<double> copies = folded[k];
            Span<double> sums = merged[k];
            for (int group = 0; group < sums.Length; group++)
            {
                double sum = 0;
                for (int copy = group; copy < copies.Length; copy += sums.Length)
                    sum += copies[copy];
                sums[group] = sum;
            }
        }

        return merged;
    }

    public void Dispose() => _partial?.Dispose();

    private void MergeSegments(int k)
    {
        for (int i = 0; i < _segments.Count; i++)
        {
            (long group, int groups) = (_segments[i].Group, (int)_segments[i].Groups);
            Span<double> sum = _sums[k].Slice((int)group, groups);
            TensorPrimitives.Add(sum, new ReadOnlySpan<double>(GetPartial(i) + (long)k * groups, groups), sum);
        }
    }

    private double* GetPartial(int segment) => (double*)_partial!.Pointer + _segments[segment].Before * _accumulators;
}
