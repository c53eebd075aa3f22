using System.Numerics;

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

    private static void AverageClosest(ClientBlock block, int kept, (int, int)[] network)
    {
        Span<Vector<double>> values = block.Clients <= 64 ? stackalloc Vector<double>[block.Clients] : new Vector<double>[block.Clients];
        for (int at = 0; at < block.Length; at += Vector<double>.Count)
        {
            for (int k = 0; k < values.Length; k++)
                values[k] = new Vector<double>(block[k][at..]);
            foreach ((int lower, int upper) in network)
            {
                (values[lower], values[upper]) =
                    (Vector.Min(values[lower], values[upper]), Vector.Max(values[lower], values[upper]));
            }

            Vector<double> median = (values[(values.Length - 1) / 2] + values[values.Length / 2]) / new Vector<double>(2);
            // the closest values are neighbours in their order: again and again the farther end leaves
            for (int last = values.Length - 1; last >= kept; last--)
            {
                Vector<long> firstLeaves = Vector.GreaterThan(median - values[0], values[last] - median);
                for (int k = 0; k < last; k++)
                    values[k] = Vector.ConditionalSelect(firstLeaves, values[k + 1], values[k]);
            }

            Vector<double> sum = values[0];
            for (int k = 1; k < kept; k++)
                sum += values[k];
            (sum / new Vector<double>(kept)).CopyTo(block.Result[at..]);
        }
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
