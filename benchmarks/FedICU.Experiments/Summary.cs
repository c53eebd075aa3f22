using System.Globalization;
using System.Text;

namespace FedICU.Experiments;

/// <summary>
/// Summarizes the results of a corpus and scenario, method by method, over the seeds that all methods have.
/// </summary>
internal sealed class Summary
{
    // the largest distance of two server steps between which the dial is interpolated; chosen
    private const double MostInterpolatedStep = 0.5;

    private readonly ExperimentOptions _options;
    private readonly List<RoundResult> _rows;
    private readonly string _texts;
    private readonly string[] _bases = [];

    /// <summary>Summarizes the rows that match the options, corpus, texts and scenario.</summary>
    /// <param name="rows">All results.</param>
    /// <param name="options">The options of the rows.</param>
    /// <param name="corpus">The corpus of the rows.</param>
    /// <param name="texts">The hash of the rows' texts.</param>
    /// <param name="ran">The base and the machine of each seed; null for those with the most results.</param>
    /// <param name="scenario">The scenario of the rows.</param>
    /// <param name="methods">The methods to show.</param>
    /// <param name="upTo">The last seed.</param>
    public Summary(
        IEnumerable<RoundResult> rows, ExperimentOptions options, string corpus, string texts,
        IReadOnlyDictionary<int, (string Base, string Machine)>? ran, Scenario scenario, IReadOnlyCollection<Method> methods, int upTo)
    {
        (_options, Corpus, _texts, Scenario) = (options, corpus, texts, scenario);
        var wanted = (options.Name, corpus, texts, scenario.Name);
        List<RoundResult> all = [.. rows.Where(row =>
            (row.Run.Options, row.Run.Corpus, row.Run.Texts, row.Run.Scenario) == wanted && row.Round <= options.Rounds)];
        Dictionary<int, (string Base, string Machine)> bases = all.GroupBy(row => row.Run.Seed).ToDictionary(
            rowsOf => rowsOf.Key,
            rowsOf => ran is not null && ran.TryGetValue(rowsOf.Key, out (string, string) own)
                ? own
                : rowsOf.GroupBy(BaseOf).MaxBy(ofBase => ofBase.Count())!.Key);
        all.RemoveAll(row => BaseOf(row) != bases[row.Run.Seed]);
        int[] known = [.. all.Select(row => row.Run.Seed).Distinct().Order()];
        all.RemoveAll(row => row.Run.Seed > upTo);
        var last = methods.Select(method => (Method: method, Rows: all.FindAll(row => IsLast(row, method))))
            .Where(method => method.Rows.Count > 0).ToList();
        IEnumerable<IEnumerable<int>> seedsOfMethods = last.Select(method => method.Rows.Select(row => row.Run.Seed));
        Seeds = last.Count == 0 ? [] : [.. seedsOfMethods.Aggregate((common, seeds) => common.Intersect(seeds)).Order()];
        LeftOut = [.. known.Except(Seeds)];
        _rows = all.FindAll(row => Seeds.Contains(row.Run.Seed));
        if (Seeds.Length == 0)
            return;
        _bases = [.. Seeds.GroupBy(seed => bases[seed].Machine)
            .Select(seeds => $"bases {string.Join(", ", seeds.Select(seed => bases[seed].Base))} on {seeds.Key}")];
        foreach ((Method method, List<RoundResult> measured) in last)
        {
            RoundResult[] ends = [.. Seeds.Select(seed => measured.Find(row => row.Run.Seed == seed)!)];
            Methods.Add(new MethodSummary(
                method, [.. ends.Select(row => row.Domains)], [.. ends.Select(row => row.General)],
                [.. ends.Select(row => row.Whole == 0 ? 0 : row.Sent / (double)row.Whole)], [.. ends.Select(row => (double)row.Sent)]));
        }

        bool IsLast(RoundResult row, Method method)
        {
            int round = method.Kind == MethodKind.Base ? 0 : options.Rounds;
            return IsOf(row, method) && (row.Round == round || row.IsDiverged);
        }
    }

    public string Corpus { get; }

    /// <summary>The seeds that all methods have.</summary>
    public int[] Seeds { get; }

    /// <summary>The seeds that have results but are not shown.</summary>
    public IReadOnlyList<int> LeftOut { get; } = [];

    public Scenario Scenario { get; }

    public List<MethodSummary> Methods { get; } = [];

    /// <summary>The base, as a step of 0, and FedAvg with its server steps.</summary>
    public IEnumerable<MethodSummary> Dial =>
        Methods.Where(summary => summary.Method is { Kind: MethodKind.Base } or { IsOnDial: true }).OrderBy(StepOf);

    /// <summary>
    /// The federated methods to compare. Those with a validation text at the server are left out: they have an
    /// advantage.
    /// </summary>
    public IEnumerable<MethodSummary> Federated => Methods.Where(summary => summary.IsFederated && !summary.Method.Validated);

    public MethodSummary? Find(string method) => Methods.Find(summary => summary.Method.Name == method);

    /// <summary>Computes the domains' bits per byte after each round, averaged over the seeds.</summary>
    public List<(int Round, double Bits)> Curve(string method)
    {
        if (Find(method) is not { } found)
            return [];
        return [.. _rows.Where(row => IsOf(row, found.Method)).GroupBy(row => row.Round).OrderBy(group => group.Key)
            .Select(group => (group.Key, group.Average(row => row.Domain)))];
    }

    /// <summary>
    /// Finds the Pareto front: the methods that no other method beats. A method beats another if it is at least as good
    /// in all figures and better in one. Less is better.
    /// </summary>
    public static List<MethodSummary> Front(IReadOnlyCollection<MethodSummary> methods, params Func<MethodSummary, double>[] figures)
    {
        return [.. methods.Where(method =>
            figures.All(figure => !double.IsNaN(figure(method))) && !methods.Any(other => Beats(other, method)))];

        bool Beats(MethodSummary one, MethodSummary other) =>
            figures.All(figure => figure(one) <= figure(other)) && figures.Any(figure => figure(one) < figure(other));
    }

    public string Table()
    {
        var text = new StringBuilder();
        MethodSummary? start = Find("base"), central = Find("central"), plain = Find("fedavg");
        // rounded as in the table, so that differences that it does not show do not count
        List<MethodSummary> front = Front(
            [.. Federated], summary => Math.Round(summary.Domain.Average(), 3), summary => Math.Round(summary.General.Average(), 3),
            summary => Math.Round(summary.SentShare.Average(), 2));
        text.Append(CultureInfo.InvariantCulture, $"{Corpus}, {Scenario.Name}: {Scenario.Does}; {_options.Rounds} rounds, ")
            .Append(CultureInfo.InvariantCulture, $"seeds {string.Join(", ", Seeds)}; {_options.Name}; texts {_texts}; ")
            .AppendLine(string.Join("; ", _bases)).AppendLine();
        text.AppendLine("| method | | domains | general | worst | of central's gain | forgotten | sent | to fedavg | to the dial | front |")
            .AppendLine("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (MethodSummary summary in Methods)
        {
            double ownGain = Gain(summary) ?? 0;
            string gain = Gain(central) is { } centralGain ? $"{ownGain / centralGain:P0}" : "";
            string forgotten = start is null ? "" : Signed(summary.General.Average() - start.General.Average());
            string sent = summary.IsFederated ? $"{summary.SentShare.Average():P0}" : "";
            string toPlain = plain is null || summary == plain || !summary.IsFederated
                ? ""
                : Paired(summary.Domain.Zip(plain.Domain, (own, other) => own - other));
            string toDial = IsCompared(summary) ? Paired(Seeds.Select((_, i) => ToDial(summary, i))) : "";
            double worst = summary.Domains.Average(bits => bits.Values.Max());
            text.Append(CultureInfo.InvariantCulture, $"| {summary.Method.Name} | {summary.Method.Does} | {WithSpread(summary.Domain)} ")
                .Append(CultureInfo.InvariantCulture, $"| {WithSpread(summary.General)} | {worst:0.000} | {gain} | {forgotten} | {sent} ")
                .AppendLine(CultureInfo.InvariantCulture, $"| {toPlain} | {toDial} | {(front.Contains(summary) ? "*" : "")} |");
        }

        text.AppendLine()
            .AppendLine("Domains, general, worst: bits per byte of the test texts; domains is the mean, worst the worst domain's.")
            .AppendLine("Of central's gain: the share of central's gain over the base. Forgotten: the rise of general.")
            .AppendLine("Sent: the share of whole updates.")
            .Append("To the dial: domains less the best of FedAvg at a server step that forgets at most as much; ")
            .AppendLine("empty if no step is near.")
            .AppendLine("Front: no other method is at least as good in domains, general and sent, and better in one.")
            .AppendLine("± is the standard deviation over seeds, or the standard error for paired differences.");
        return text.ToString();

        double? Gain(MethodSummary? summary) => start is null || summary is null ? null : start.Domain.Average() - summary.Domain.Average();

        static string WithSpread(double[] values)
        {
            if (values.Any(double.IsNaN))
                return "diverged";
            return values.Length < 2 ? $"{values[0]:0.000}" : $"{values.Average():0.000} ± {MethodSummary.Spread(values):0.000}";
        }
    }

    /// <summary>Writes a table of the single domains, averaged over the seeds.</summary>
    public string ByDomain()
    {
        var text = new StringBuilder();
        string[] domains = [.. Methods[0].Domains[0].Keys];
        AppendHeader(text, "method", domains);
        foreach (MethodSummary summary in Methods)
        {
            IEnumerable<string> cells = domains.Select(domain => $"{summary.Domains.Average(bits => bits[domain]):0.000}");
            AppendRow(text, summary.Method.Name, cells);
        }

        return text.ToString();
    }

    /// <summary>Writes a table of each seed's difference to the dial; empty if there is a single seed.</summary>
    public string BySeed()
    {
        MethodSummary[] compared = [.. Methods.Where(IsCompared)];
        if (Seeds.Length < 2 || compared.Length == 0)
            return "";
        var text = new StringBuilder();
        AppendHeader(text, "to the dial", Seeds.Select(seed => $"seed {seed}"));
        foreach (MethodSummary summary in compared)
        {
            IEnumerable<double> differences = Seeds.Select((_, i) => ToDial(summary, i));
            AppendRow(text, summary.Method.Name, differences.Select(value => double.IsNaN(value) ? "" : Signed(value)));
        }

        return text.AppendLine().ToString();
    }

    /// <summary>
    /// Writes a table of the reports' statistics, averaged over the seeds. They describe the factors.
    /// </summary>
    public string Statistics()
    {
        var text = new StringBuilder();
        string[] columns =
        [
            "cosine to the mean, first round", "last", "norm of a tensor's update, first", "last", "cross-term, last",
            "error of the products, last", "sent before too, last", "server's step with these figures, least ms",
        ];
        AppendHeader(text, "method", columns);
        foreach (MethodSummary summary in Methods.Where(summary => summary.IsFederated))
        {
            List<RoundResult> rows = _rows.FindAll(row => IsOf(row, summary.Method) && row.Round > 0 && !row.IsDiverged);
            if (rows.Count == 0)
                continue;
            List<RoundResult> first = rows.FindAll(row => row.Round == 1);
            List<RoundResult> last = rows.FindAll(row => row.Round == rows.Max(other => other.Round));
            FormattableString[] cells =
            [
                $"{first.Average(row => row.Cosine):0.00}", $"{last.Average(row => row.Cosine):0.00}",
                $"{first.Average(row => row.UpdateNorm):0.00}", $"{last.Average(row => row.UpdateNorm):0.00}",
                $"{last.Average(row => row.CrossTerm):0.00}", $"{last.Average(row => row.RelativeError):0.00}",
                $"{last.Average(row => row.SentAgain):P0}",
                $"{rows.Min(row => row.ServerMilliseconds):0.0}",
            ];
            AppendRow(text, summary.Method.Name, cells.Select(cell => cell.ToString(CultureInfo.InvariantCulture)));
        }

        return text.ToString();
    }

    private static void AppendHeader(StringBuilder text, string first, IEnumerable<string> columns)
    {
        AppendRow(text, first, columns);
        text.AppendLine(CultureInfo.InvariantCulture, $"|---|{string.Concat(columns.Select(_ => "--:|"))}");
    }

    private static void AppendRow(StringBuilder text, string first, IEnumerable<string> cells) =>
        text.AppendLine(CultureInfo.InvariantCulture, $"| {first} | {string.Join(" | ", cells)} |");

    private static (string, string) BaseOf(RoundResult row) => (row.Run.Base, row.Run.Machine);

    private static bool IsOf(RoundResult row, Method method) => (row.Run.Method, row.Run.Settings) == (method.Name, method.Definition);

    private bool IsCompared(MethodSummary summary) => summary.IsFederated && !Dial.Contains(summary);

    private static double StepOf(MethodSummary summary) => summary.Method.Kind == MethodKind.Base ? 0 : summary.Method.Step;

    /// <summary>
    /// Computes a seed's domain bits less the best of FedAvg at a server step that forgets at most as much. Between two
    /// measured steps it interpolates linearly. It is NaN between steps that are far apart and before the first step,
    /// where the curve bends and a straight line would be too favourable.
    /// </summary>
    private double ToDial(MethodSummary summary, int seed)
    {
        MethodSummary[] dial = [.. Dial];
        double at = summary.General[seed];
        double best = dial.Where(step => step.General[seed] <= at).Select(step => step.Domain[seed]).DefaultIfEmpty(double.NaN).Min();
        for (int i = 1; i < dial.Length; i++)
        {
            (MethodSummary lower, MethodSummary upper) = (dial[i - 1], dial[i]);
            (double from, double to) = (lower.General[seed], upper.General[seed]);
            if (!(at > from && at < to))
                continue;
            bool isNear = StepOf(lower) > 0 && StepOf(upper) - StepOf(lower) < MostInterpolatedStep;
            double between = double.Lerp(lower.Domain[seed], upper.Domain[seed], (at - from) / (to - from));
            best = isNear ? Math.Min(best, between) : double.NaN;
        }

        return summary.Domain[seed] - best;
    }

    /// <summary>Formats the mean of differences on the same seeds and its standard error.</summary>
    private static string Paired(IEnumerable<double> differences)
    {
        double[] each = [.. differences];
        if (each.Any(double.IsNaN))
            return "";
        double error = MethodSummary.Spread(each) / Math.Sqrt(each.Length);
        return each.Length == 1 ? Signed(each[0]) : $"{Signed(each.Average())} ± {error:0.000}";
    }

    // a value that rounds to zero has no sign
    private static string Signed(double value) => $"{Math.Round(value, 3) + 0.0:+0.000;-0.000;0.000}";
}
