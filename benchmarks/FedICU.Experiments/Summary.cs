using System.Globalization;
using System.Text;

namespace FedICU.Experiments;

/// <summary>A method's figures after the last round, a number for each seed.</summary>
internal sealed record MethodSummary(Method Method, Dictionary<string, double>[] Domains, double[] General, double[] SentShare, double[] SentBytes)
{
    /// <summary>The mean of the domains.</summary>
    public double[] Domain { get; } = [.. Domains.Select(bits => bits.Values.Average())];

    public bool IsFederated => Method.Kind == MethodKind.Federated;

    /// <summary>The standard deviation; NaN of a single one.</summary>
    public static double Spread(IReadOnlyList<double> values) => values.Count < 2 ? double.NaN : Math.Sqrt(values.Sum(value => Math.Pow(value - values.Average(), 2)) / (values.Count - 1));
}

/// <summary>Results of a corpus and scenario, method by method, over the seeds that all methods have.</summary>
internal sealed class Summary
{
    private readonly ExperimentOptions _options;
    private readonly List<RoundResult> _rows;
    private readonly string _texts;
    private readonly string[] _bases = [];

    /// <summary>Of what is known.</summary>
    /// <param name="rows">All results.</param>
    /// <param name="options">Rows of others are left out.</param>
    /// <param name="corpus">Rows of others are left out.</param>
    /// <param name="texts">Rows of others are left out.</param>
    /// <param name="ran">The base and the machine of each seed that count; null: those of which most is known.</param>
    /// <param name="scenario">Rows of others are left out.</param>
    /// <param name="methods">Those that are shown.</param>
    /// <param name="upTo">The last seed.</param>
    public Summary(
        IEnumerable<RoundResult> rows, ExperimentOptions options, string corpus, string texts, IReadOnlyDictionary<int, (string Base, string Machine)>? ran, Scenario scenario, IReadOnlyCollection<Method> methods, int upTo)
    {
        (_options, Corpus, _texts, Scenario) = (options, corpus, texts, scenario);
        List<RoundResult> all = [.. rows.Where(row => (row.Run.Options, row.Run.Corpus, row.Run.Texts, row.Run.Scenario) == (options.Name, corpus, texts, scenario.Name) && row.Round <= options.Rounds)];
        Dictionary<int, (string Base, string Machine)> bases = all.GroupBy(row => row.Run.Seed)
            .ToDictionary(rowsOf => rowsOf.Key, rowsOf => ran is not null && ran.TryGetValue(rowsOf.Key, out (string, string) own) ? own : rowsOf.GroupBy(BaseOf).MaxBy(ofBase => ofBase.Count())!.Key);
        all.RemoveAll(row => BaseOf(row) != bases[row.Run.Seed]);
        int[] known = [.. all.Select(row => row.Run.Seed).Distinct().Order()];
        all.RemoveAll(row => row.Run.Seed > upTo);
        var last = methods.Select(method => (Method: method, Rows: all.FindAll(row => IsOf(row, method) && (row.Round == (method.Kind == MethodKind.Base ? 0 : options.Rounds) || row.IsDiverged))))
            .Where(method => method.Rows.Count > 0).ToList();
        Seeds = last.Count == 0 ? [] : [.. last.Select(method => method.Rows.Select(row => row.Run.Seed)).Aggregate((common, seeds) => common.Intersect(seeds)).Order()];
        LeftOut = [.. known.Except(Seeds)];
        _rows = all.FindAll(row => Seeds.Contains(row.Run.Seed));
        if (Seeds.Length == 0)
            return;
        _bases = [.. Seeds.GroupBy(seed => bases[seed].Machine).Select(seeds => $"bases {string.Join(", ", seeds.Select(seed => bases[seed].Base))} on {seeds.Key}")];
        foreach ((Method method, List<RoundResult> measured) in last)
        {
            RoundResult[] ends = [.. Seeds.Select(seed => measured.Find(row => row.Run.Seed == seed)!)];
            Methods.Add(new MethodSummary(
                method, [.. ends.Select(row => row.Domains)], [.. ends.Select(row => row.General)], [.. ends.Select(row => row.Whole == 0 ? 0 : row.Sent / (double)row.Whole)], [.. ends.Select(row => (double)row.Sent)]));
        }
    }

    public string Corpus { get; }

    /// <summary>Those that all methods have.</summary>
    public int[] Seeds { get; }

    /// <summary>Seeds of which something is known and that are not shown.</summary>
    public IReadOnlyList<int> LeftOut { get; } = [];

    public Scenario Scenario { get; }

    public List<MethodSummary> Methods { get; } = [];

    /// <summary>The base, which is a step of 0, and FedAvg by its server steps.</summary>
    public IEnumerable<MethodSummary> Dial => Methods.Where(summary => summary.Method is { Kind: MethodKind.Base } or { IsOnDial: true }).OrderBy(StepOf);

    /// <summary>Those that are compared: what a server's text was used for has had more than the others.</summary>
    public IEnumerable<MethodSummary> Federated => Methods.Where(summary => summary.IsFederated && !summary.Method.Validated);

    public MethodSummary? Find(string method) => Methods.Find(summary => summary.Method.Name == method);

    /// <summary>The domains' bits per byte after each round, the mean over seeds.</summary>
    public List<(int Round, double Bits)> Curve(string method) => Find(method) is not { } found ? []
        : [.. _rows.Where(row => IsOf(row, found.Method)).GroupBy(row => row.Round).OrderBy(group => group.Key).Select(group => (group.Key, group.Average(row => row.Domain)))];

    /// <summary>The methods that none beats: at least as good in all figures and better in one, where less is better.</summary>
    public static List<MethodSummary> Front(IReadOnlyCollection<MethodSummary> methods, params Func<MethodSummary, double>[] figures) =>
        [.. methods.Where(method => figures.All(figure => !double.IsNaN(figure(method))) && !methods.Any(other => figures.All(figure => figure(other) <= figure(method)) && figures.Any(figure => figure(other) < figure(method))))];

    public string Table()
    {
        var text = new StringBuilder();
        MethodSummary? start = Find("base"), central = Find("central"), plain = Find("fedavg");
        // as the table rounds them: what it does not show wins nothing
        List<MethodSummary> front = Front([.. Federated], summary => Math.Round(summary.Domain.Average(), 3), summary => Math.Round(summary.General.Average(), 3), summary => Math.Round(summary.SentShare.Average(), 2));
        text.AppendLine(CultureInfo.InvariantCulture, $"{Corpus}, {Scenario.Name}: {Scenario.Does}; {_options.Rounds} rounds, seeds {string.Join(", ", Seeds)}; {_options.Name}; texts {_texts}; {string.Join("; ", _bases)}").AppendLine();
        text.AppendLine("| method | | domains | general | worst | of central's gain | forgotten | sent | to fedavg | to the dial | front |");
        text.AppendLine("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (MethodSummary summary in Methods)
        {
            string gain = start is null || central is null ? "" : $"{(start.Domain.Average() - summary.Domain.Average()) / (start.Domain.Average() - central.Domain.Average()):P0}";
            string forgotten = start is null ? "" : Signed(summary.General.Average() - start.General.Average());
            string sent = summary.IsFederated ? $"{summary.SentShare.Average():P0}" : "";
            string toPlain = plain is null || summary == plain || !summary.IsFederated ? "" : Paired(summary.Domain.Zip(plain.Domain, (own, other) => own - other));
            string toDial = IsCompared(summary) ? Paired(Seeds.Select((_, i) => ToDial(summary, i))) : "";
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {summary.Method.Name} | {summary.Method.Does} | {WithSpread(summary.Domain)} | {WithSpread(summary.General)} | {summary.Domains.Average(bits => bits.Values.Max()):0.000} | {gain} | {forgotten} | {sent} | {toPlain} | {toDial} | {(front.Contains(summary) ? "*" : "")} |");
        }

        text.AppendLine().AppendLine("Bits per byte of the test texts: of the domains, their mean; general; of the domain that is worst. Of central's gain: over the base. Forgotten: what general rose by. Sent: of whole updates.");
        text.AppendLine("To the dial: domains less the best of FedAvg at a server step that forgets at most as much; none where no step is near. Front: no other equals it in domains, general and sent, and beats it in one.");
        text.AppendLine("± the standard deviation over seeds; of differences, which are paired, the standard error.");
        return text.ToString();

        static string WithSpread(double[] values) => values.Length < 2 ? $"{values[0]:0.000}" : $"{values.Average():0.000} ± {MethodSummary.Spread(values):0.000}";
    }

    /// <summary>The domains one by one, means over seeds.</summary>
    public string ByDomain()
    {
        var text = new StringBuilder();
        string[] domains = [.. Methods[0].Domains[0].Keys];
        text.AppendLine(CultureInfo.InvariantCulture, $"| method | {string.Join(" | ", domains)} |").AppendLine(CultureInfo.InvariantCulture, $"|---|{string.Concat(Enumerable.Repeat("--:|", domains.Length))}");
        foreach (MethodSummary summary in Methods)
            text.AppendLine(CultureInfo.InvariantCulture, $"| {summary.Method.Name} | {string.Join(" | ", domains.Select(domain => $"{summary.Domains.Average(bits => bits[domain]):0.000}"))} |");
        return text.ToString();
    }

    /// <summary>The difference to the dial of each seed; empty of a single one.</summary>
    public string BySeed()
    {
        MethodSummary[] compared = [.. Methods.Where(IsCompared)];
        if (Seeds.Length < 2 || compared.Length == 0)
            return "";
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"| to the dial | {string.Join(" | ", Seeds.Select(seed => $"seed {seed}"))} |").AppendLine(CultureInfo.InvariantCulture, $"|---|{string.Concat(Enumerable.Repeat("--:|", Seeds.Length))}");
        foreach (MethodSummary summary in compared)
            text.AppendLine(CultureInfo.InvariantCulture, $"| {summary.Method.Name} | {string.Join(" | ", Seeds.Select((_, i) => ToDial(summary, i)).Select(value => double.IsNaN(value) ? "" : Signed(value)))} |");
        return text.AppendLine().ToString();
    }

    /// <summary>What reports say of the rounds, means over seeds: of factors, or of the products where the server works on those.</summary>
    public string Statistics()
    {
        var text = new StringBuilder();
        text.AppendLine("| method | cosine to the mean, first round | last | norm of a tensor's update, first | last | cross-term, last | sent before too, last | server's step with these figures, least ms |");
        text.AppendLine("|---|--:|--:|--:|--:|--:|--:|--:|");
        foreach (MethodSummary summary in Methods.Where(summary => summary.IsFederated))
        {
            List<RoundResult> rows = _rows.FindAll(row => IsOf(row, summary.Method) && row.Round > 0 && !row.IsDiverged), first = rows.FindAll(row => row.Round == 1), last = rows.FindAll(row => row.Round == rows.Max(other => other.Round));
            if (rows.Count > 0)
                text.AppendLine(CultureInfo.InvariantCulture, $"| {summary.Method.Name} | {first.Average(row => row.Cosine):0.00} | {last.Average(row => row.Cosine):0.00} | {first.Average(row => row.UpdateNorm):0.00} | {last.Average(row => row.UpdateNorm):0.00} | {last.Average(row => row.CrossTerm):0.00} | {last.Average(row => row.SentAgain):P0} | {rows.Min(row => row.ServerMilliseconds):0.0} |");
        }

        return text.ToString();
    }

    private static (string, string) BaseOf(RoundResult row) => (row.Run.Base, row.Run.Machine);

    private static bool IsOf(RoundResult row, Method method) => (row.Run.Method, row.Run.Settings) == (method.Name, method.Definition);

    private bool IsCompared(MethodSummary summary) => summary.IsFederated && !Dial.Contains(summary);

    private static double StepOf(MethodSummary summary) => summary.Method.Kind == MethodKind.Base ? 0 : summary.Method.Step;

    /// <summary>
    /// A seed's domain bits less the best of FedAvg at a step that leaves at most as many bits of the general text, between two measured steps by a straight line; NaN between steps that are far apart and
    /// before the first, where the dial's bend would make a straight line too kind.
    /// </summary>
    private double ToDial(MethodSummary summary, int seed)
    {
        MethodSummary[] dial = [.. Dial];
        double at = summary.General[seed], best = dial.Where(step => step.General[seed] <= at).Select(step => step.Domain[seed]).DefaultIfEmpty(double.NaN).Min();
        for (int i = 1; i < dial.Length; i++)
        {
            (double from, double to) = (dial[i - 1].General[seed], dial[i].General[seed]);
            if (at > from && at < to)
                best = StepOf(dial[i - 1]) > 0 && StepOf(dial[i]) - StepOf(dial[i - 1]) < 0.5 ? Math.Min(best, double.Lerp(dial[i - 1].Domain[seed], dial[i].Domain[seed], (at - from) / (to - from))) : double.NaN;
        }

        return summary.Domain[seed] - best;
    }

    /// <summary>The mean of differences on the same seeds and its standard error.</summary>
    private static string Paired(IEnumerable<double> differences)
    {
        double[] each = [.. differences];
        return each.Any(double.IsNaN) ? "" : each.Length == 1 ? Signed(each[0]) : $"{Signed(each.Average())} ± {MethodSummary.Spread(each) / Math.Sqrt(each.Length):0.000}";
    }

    // what rounds to zero has no sign
    private static string Signed(double value) => $"{Math.Round(value, 3) + 0.0:+0.000;-0.000;0.000}";
}
