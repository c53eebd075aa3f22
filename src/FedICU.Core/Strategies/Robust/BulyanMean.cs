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
            tensor.MiddleMean(0);
        else
            tensor.ForEachElement(UpdateForm.Parameters, values => AverageClosest(values, kept));
    }

    private static double AverageClosest(Span<double> values, int kept)
    {
        values.Sort();
        double median = (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
        // the closest values are neighbours in their order
        int first = 0, last = values.Length - 1;
        while (last - first >= kept)
        {
            if (median - values[first] > values[last] - median)
                first++;
            else
                last--;
        }

        double sum = 0;
        for (int i = first; i <= last; i++)
            sum += values[i];
        return sum / kept;
    }
}
