namespace FedICU.Experiments;

/// <summary>A method's figures after the last round, with a number for each seed.</summary>
internal sealed record MethodSummary(
    Method Method, Dictionary<string, double>[] Domains, double[] General, double[] SentShare, double[] SentBytes)
{
    /// <summary>The mean over the domains, for each seed.</summary>
    public double[] Domain { get; } = [.. Domains.Select(bits => bits.Values.Average())];

    public bool IsFederated => Method.Kind == MethodKind.Federated;

    /// <summary>Computes the standard deviation; NaN for a single value.</summary>
    public static double Spread(IReadOnlyList<double> values) => values.Count < 2
        ? double.NaN
        : Math.Sqrt(values.Sum(value => Math.Pow(value - values.Average(), 2)) / (values.Count - 1));
}
