namespace FedICU.Strategies.Robust;

/// <summary>The norms of the clients' updates: ||d_k|| over the whole model.</summary>
internal static class UpdateNorms
{
    /// <summary>The largest norm that counts as 0.</summary>
    public const double Epsilon = 1e-12;

    /// <summary>Returns the norms that <see cref="RoundStatistic.SquaredNorms"/> measured.</summary>
    public static double[] Get(RoundPlan plan)
    {
        double[] norms = plan[RoundStatistic.SquaredNorms].ToArray();
        for (int k = 0; k < norms.Length; k++)
            norms[k] = Math.Sqrt(norms[k]);
        return norms;
    }

    /// <summary>Returns min(1, most / norm); 1 for a norm that counts as 0.</summary>
    public static double Clip(double norm, double most) => norm <= Epsilon ? 1 : Math.Min(1, most / norm);

    /// <summary>Returns the median, of an even number the mean of the middle two.</summary>
    public static double Median(ReadOnlySpan<double> values)
    {
        double[] sorted = values.ToArray();
        Array.Sort(sorted);
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
