using FedICU.Strategies.Abstractions;

namespace FedICU.Strategies.Merging;

/// <summary>What the merging rules have in common.</summary>
internal static class MergeWeights
{
    // added to density n before it is rounded down, so that 0.29 of 100 is 29
    private const double CountTolerance = 1e-9;

    /// <summary>Returns the clients' weights, and reports them.</summary>
    public static double[] Get(TensorContext tensor, MergeWeighting weighting)
    {
        double[] weights = Get([.. tensor.Clients.Select(client => client.MergeWeight)], weighting);
        for (int k = 0; k < weights.Length; k++)
            tensor.ReportWeight(k, weights[k]);
        return weights;
    }

    /// <summary>Returns the clients' weights, from those that weightings left.</summary>
    public static double[] Get(IReadOnlyList<double> given, MergeWeighting weighting)
    {
        double total = given.Sum();
        return
        [
            .. given.Select(weight => weighting switch
            {
                MergeWeighting.Share => weight / total,
                MergeWeighting.Uniform => 1.0 / given.Count,
                MergeWeighting.Raw => weight,
                _ => 1,
            }),
        ];
    }

    /// <summary>Names the option's value if weights of weightings have no effect; otherwise null.</summary>
    public static string? DescribeOwn(MergeWeighting weighting) => weighting switch
    {
        MergeWeighting.Uniform => "uniform",
        MergeWeighting.One => "one",
        _ => null,
    };

    /// <summary>Returns how many of the elements a density leaves: at least one.</summary>
    public static long CountKept(double density, long elements) =>
        Math.Min(elements, Math.Max(1, CountShare(density, elements)));

    /// <summary>Returns a share of the elements, rounded down.</summary>
    public static long CountShare(double share, long elements) => (long)Math.Floor(share * elements + CountTolerance);

    /// <summary>Requires a density in (0, 1].</summary>
    public static OptionErrors RequireDensity(this OptionErrors errors, double density) =>
        errors.Require("density", density, density is > 0 and <= 1, "a number above 0 and at most 1");

    /// <summary>Requires a finite factor.</summary>
    public static OptionErrors RequireScale(this OptionErrors errors, double scale) =>
        errors.Require("scale", scale, double.IsFinite(scale), "a finite number");
}
