using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedICU;

/// <summary>
/// Bulyan's merge: of each element, the mean of the values of the chosen clients that are closest to their median. The
/// weighting <see cref="Bulyan"/> comes before it and says how many. Weights do not count.
/// </summary>
/// <remarks>
/// Closest by (|v - median|, v). The values are added in ascending order. Without <see cref="Bulyan"/> before it, all
/// values are averaged.
/// </remarks>
public sealed class BulyanMean : MergeRule
{
    /// <summary>The name under which the plan holds the number of values that are averaged.</summary>
    internal const string Kept = "bulyan.kept";

    /// <inheritdoc/>
    public override string Name => "bulyan-mean";

    internal override bool IsPart => true;

    internal override string RuleName => "bulyan";

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        int kept = (int)tensor.Plan.GetKept(Kept)[0];
        if (kept == tensor.Clients.Count)
        {
            tensor.MiddleMean(0);
            return;
        }

        (int, int)[] network = [.. ListExchanges(tensor.Clients.Count)];
        tensor.ForEachBlock(UpdateForm.Parameters, block => AverageClosest(block, kept, network));
    }

    /// <summary>
    /// Sorts all elements of the block step by step, so that no vector waits for the one before; then averages.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AverageClosest(ClientBlock block, int kept, (int Lower, int Upper)[] network)
    {
        foreach ((int lower, int upper) in network)
            Sort(block[lower], block[upper]);
        for (int i = 0; i < block.Length; i += Vector512<double>.Count)
            AverageClosest(block, i, kept).CopyTo(block.Result[i..]);
    }

    /// <summary>Exchanges values so that each one in lower is at most the one in upper.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Sort(Span<double> lower, Span<double> upper)
    {
        ref double x = ref MemoryMarshal.GetReference(lower), y = ref MemoryMarshal.GetReference(upper);
        for (nuint i = 0; i < (nuint)lower.Length; i += (nuint)Vector512<double>.Count)
        {
            Vector512<double> a = Vector512.LoadUnsafe(ref x, i), b = Vector512.LoadUnsafe(ref y, i);
            Vector512.MinNative(a, b).StoreUnsafe(ref x, i);
            Vector512.MaxNative(a, b).StoreUnsafe(ref y, i);
        }
    }

    /// <summary>
    /// Averages some of the ascending values: they are neighbours, as again and again the end that is farther from the
    /// median leaves.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector512<double> AverageClosest(ClientBlock block, int start, int kept)
    {
        nint row = block.Length;
        ref double first = ref block[0][start], last = ref block[block.Clients - 1][start];
        Vector512<double> median = (Load(ref block[(block.Clients - 1) / 2][start]) + Load(ref block[block.Clients / 2][start])) * 0.5;
        Vector512<double> sum = Vector512<double>.Zero;
        for (int left = block.Clients - 1; left >= kept; left--, last = ref Unsafe.Add(ref last, -row))
        {
            Vector512<double> value = Load(ref first), firstLeaves = Vector512.GreaterThan(median - value, Load(ref last) - median);
            ref double at = ref first;
            for (int k = 0; k < left; k++)
            {
                ref double next = ref Unsafe.Add(ref at, row);
                Vector512<double> following = Load(ref next), stays = Vector512.ConditionalSelect(firstLeaves, following, value);
                if (left == kept)
                    sum += stays;
                else
                    stays.StoreUnsafe(ref at);
                value = following;
                at = ref next;
            }
        }

        return sum / Vector512.Create((double)kept);

        static Vector512<double> Load(ref double from) => Vector512.LoadUnsafe(ref from);
    }

    /// <summary>
    /// Lists the exchanges that sort any number of values (Batcher's odd-even merge sort; Knuth, volume 3, 5.2.2 M).
    /// </summary>
    private static IEnumerable<(int Lower, int Upper)> ListExchanges(int count)
    {
        for (int sorted = 1; sorted < count; sorted *= 2)
        {
            for (int distance = sorted; distance >= 1; distance /= 2)
            {
                for (int start = distance % sorted; start + distance < count; start += 2 * distance)
                {
                    for (int i = start; i < start + distance && i + distance < count; i++)
                    {
                        if (i / (2 * sorted) == (i + distance) / (2 * sorted))
                            yield return (i, i + distance);
                    }
                }
            }
        }
    }
}
