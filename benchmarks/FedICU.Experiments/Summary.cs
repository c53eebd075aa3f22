using System.Globalization;
using System.Text;

namespace FedICU.Experiments;

/// <summary>A method's figures over seeds, after the last round that all of them have.</summary>
internal sealed record MethodSummary(Method Method, IReadOnlyList<int> Seeds, double[] Domain, double[] General, double[] Worst, double[] SentShare, double[] SentBytes)
{
    /// <summary>The standard deviation over seeds; NaN of a single one.</summary>
    public static double Spread(double[] values) => values.Length < 2 ? double.NaN : Math.Sqrt(values.Sum(value => Math.Pow(value - values.Average(), 2)) / (values.Length - 1));
}

/// <summary>Results of a corpus and scenario, method by method.</summary>
internal sealed class Summary
{
    private readonly List<RoundResult> _rows;

    public Summary(ResultFile results, ExperimentOptions options, string corpus, string scenario)
    {
        (Corpus, Scenario) = (corpus, scenario);
        _rows = [.. results.Rows.Where(row => row.Options == options.Name && row.Corpus == corpus && row.Scenario == scenario)];
        foreach (Method method in Method.All)
        {
            RoundResult[] last = [.. _rows.Where(row => row.Method == method.Name && row.Round == (method.Kind == MethodKind.Base ? 0 : options.Rounds)).OrderBy(row => row.Seed)];
            if (last.Length > 0)
            {
                Methods.Add(new MethodSummary(
                    method, [.. last.Select(row => row.Seed)], [.. last.Select(row => row.Domain)], [.. last.Select(row => row.General)], [.. last.Select(row => row.Domains.Max())],
                    [.. last.Select(row => row.Whole == 0 ? 0 : row.Sent / (double)row.Whole)], [.. last.Select(row => (double)row.Sent)]));
            }
        }
    }

    public string Corpus { get; }

    public string Scenario { get; }

    public List<MethodSummary> Methods { get; } = [];

    public MethodSummary? Find(string method) => Methods.Find(summary => summary.Method.Name == method);

    /// <summary>The FedAvg whose step does best on the domains.</summary>
    public MethodSummary? Tuned => Methods.Where(summary => summary.Method.Name.StartsWith("fedavg", StringComparison.Ordinal)).MinBy(summary => summary.Domain.Average());

    /// <summary>The domains' bits per byte after each round, the mean over seeds.</summary>
    public List<(int Round, double Bits)> Curve(string method) =>
        [.. _rows.Where(row => row.Method == method).GroupBy(row => row.Round).OrderBy(group => group.Key).Select(group => (group.Key, group.Average(row => row.Domain)))];

    /// <summary>The methods that no other beats in both of two figures, of which less is better.</summary>
    public static List<MethodSummary> Front(IEnumerable<MethodSummary> methods, Func<MethodSummary, double> first, Func<MethodSummary, double> second)
    {
        var front = new List<MethodSummary>();
        double best = double.PositiveInfinity;
        foreach (MethodSummary summary in methods.OrderBy(first).ThenBy(second))
        {
            if (second(summary) < best)
            {
                front.Add(summary);
                best = second(summary);
            }
        }

        return front;
    }

    /// <summary>Whether no other is at least as good in all of the domains, the general text and what is sent, and better in one.</summary>
    private bool IsOnFront(MethodSummary summary)
    {
        return !Methods.Exists(other => other.Method.Kind == MethodKind.Federated && other != summary && Figures(other).Zip(Figures(summary), (a, b) => a <= b).All(no => no)
            && Figures(other).Zip(Figures(summary), (a, b) => a < b).Any(less => less));

        static double[] Figures(MethodSummary method) => [method.Domain.Average(), method.General.Average(), method.SentBytes.Average()];
    }

    /// <summary>What reports say of the rounds, means over them and seeds.</summary>
    public string Statistics()
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"| {Corpus}, {Scenario}: | cosine to the mean, first round | last | norm, first | last | cross term | step | aggregation, ms |");
        text.AppendLine("|---|--:|--:|--:|--:|--:|--:|--:|");
        foreach (Method method in Methods.Select(summary => summary.Method).Where(method => method.Kind == MethodKind.Federated))
        {
            RoundResult[] rows = [.. _rows.Where(row => row.Method == method.Name && row.Round > 0)];
            RoundResult[] first = [.. rows.Where(row => row.Round == 1)], last = [.. rows.Where(row => row.Round == rows.Max(other => other.Round))];
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {method.Name} | {first.Average(row => row.Cosine):0.00} | {last.Average(row => row.Cosine):0.00} | {first.Average(row => row.UpdateNorm):0.00} | {last.Average(row => row.UpdateNorm):0.00} | {last.Average(row => row.CrossTerm):0.00} | {rows.Average(row => row.Step):0.00} | {rows.Select(row => row.AggregationMilliseconds).Order().ElementAt(rows.Length / 2):0.0} |");
        }

        return text.ToString();
    }

    public string Table()
    {
        var text = new StringBuilder();
        MethodSummary? start = Find("base"), central = Find("central"), plain = Find("fedavg"), tuned = Tuned;
        text.AppendLine(CultureInfo.InvariantCulture, $"| {Corpus}, {Scenario}: | | domains | general | worst | gap closed | forgotten | sent | to fedavg | to {tuned?.Method.Name ?? "tuned"} | front |");
        text.AppendLine("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (MethodSummary summary in Methods)
        {
            string gap = start is null || central is null ? "" : $"{(start.Domain.Average() - summary.Domain.Average()) / (start.Domain.Average() - central.Domain.Average()):P0}";
            string forgotten = start is null ? "" : $"{summary.General.Average() - start.General.Average():+0.000;-0.000}";
            bool rounds = summary.Method.Kind == MethodKind.Federated;
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {summary.Method.Name} | {summary.Method.Does} | {WithSpread(summary.Domain)} | {WithSpread(summary.General)} | {summary.Worst.Average():0.000} | {gap} | {forgotten} | {(rounds ? $"{summary.SentShare.Average():P0}" : "")} | {Paired(summary, plain)} | {Paired(summary, tuned)} | {(rounds && IsOnFront(summary) ? "*" : "")} |");
        }

        return text.ToString();

        static string WithSpread(double[] values) => values.Length < 2 ? $"{values[0]:0.000}" : $"{values.Average():0.000} ± {MethodSummary.Spread(values):0.000}";
    }

    /// <summary>The mean difference on the same seeds, of the domains' bits per byte, and its standard error.</summary>
    private static string Paired(MethodSummary summary, MethodSummary? to)
    {
        if (to is null || summary == to || summary.Method.Kind != MethodKind.Federated)
            return "";
        double[] differences = [.. summary.Seeds.Index().Where(seed => to.Seeds.Contains(seed.Item)).Select(seed => summary.Domain[seed.Index] - to.Domain[to.Seeds.Index().First(other => other.Item == seed.Item).Index])];
        return differences.Length switch
        {
            0 => "",
            1 => $"{differences[0]:+0.000;-0.000}",
            _ => $"{differences.Average():+0.000;-0.000} ± {MethodSummary.Spread(differences) / Math.Sqrt(differences.Length):0.000}",
        };
    }
}
