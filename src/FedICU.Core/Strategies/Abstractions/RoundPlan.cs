using FedICU.Compute;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// A round after its check, as plain data: the clients, the tensors and the numbers that were measured. Stages decide
/// from it, and a runner computes from it.
/// </summary>
public sealed class RoundPlan
{
    private readonly Dictionary<string, double[]> _statistics = new(StringComparer.Ordinal);
    private readonly Dictionary<string, double> _scalars = new(StringComparer.Ordinal);
    private readonly Dictionary<string, double[]> _numbers = new(StringComparer.Ordinal);
    private readonly List<StageReport> _reports = [];
    private readonly List<string> _notes = [];

    internal RoundPlan(IReadOnlyList<RoundClient> clients, IReadOnlyList<TensorInfo> tensors, long? round, long roundsFinished) =>
        (Clients, CountAtStart, Tensors, Round, RoundsFinished) = (clients, clients.Count, tensors, round, roundsFinished);

    /// <summary>Gets the clients that take part, in ordinal order of their ids.</summary>
    public IReadOnlyList<RoundClient> Clients { get; private set; }

    /// <summary>Gets the number of clients before a weighting left some out.</summary>
    public int CountAtStart { get; }

    /// <summary>Gets the float tensors that are merged, in the order of the global model.</summary>
    public IReadOnlyList<TensorInfo> Tensors { get; }

    /// <summary>Gets the round's number; null if the caller gave none.</summary>
    public long? Round { get; }

    /// <summary>Gets the number of finished rounds that the server's state holds; 0 in the first round.</summary>
    public long RoundsFinished { get; }

    /// <summary>Gets whether nothing of a single client's data may be said.</summary>
    internal bool IsPrivate { get; init; }

    /// <summary>Gets whether the round has a place for the server's state.</summary>
    internal bool HasState { get; init; }

    /// <summary>Gets what the stages report.</summary>
    internal IReadOnlyList<StageReport> Reports => _reports;

    /// <summary>Gets the notes of the stages.</summary>
    internal IReadOnlyList<string> Notes => _notes;

    /// <summary>Gets whether the merge sees other updates than the clients sent.</summary>
    internal bool HasFactors { get; private set; }

    /// <summary>Gets a statistic that the stage named in <see cref="Stage.Statistics"/>.</summary>
    /// <param name="statistic">The statistic.</param>
    /// <exception cref="InvalidOperationException">The stage did not name it.</exception>
    public ReadOnlySpan<double> this[RoundStatistic statistic]
    {
        get
        {
            ArgumentNullException.ThrowIfNull(statistic);
            return this[statistic.Name];
        }
    }

    internal ReadOnlySpan<double> this[string statistic] => _statistics.TryGetValue(statistic, out double[]? sums)
        ? sums
        : throw new InvalidOperationException(
            $"The statistic {Sentence.Quote(statistic)} was not measured: name it in the stage's Statistics.");

    /// <summary>
    /// Gets the squared distance of two clients' models, from <see cref="RoundStatistic.PairDistances"/>.
    /// </summary>
    /// <param name="i">The index of one client.</param>
    /// <param name="j">The index of the other; the order has no effect.</param>
    public double SquaredDistance(int i, int j) =>
        i == j ? 0 : this[RoundStatistic.PairDistances][(int)GramPairs.Index(Math.Min(i, j), Math.Max(i, j) - 1)];

    /// <summary>Keeps numbers for later stages: what a weighting hands to the merge or to a step.</summary>
    /// <param name="name">The name, unique in the round: <c>centered-clip.rest</c>.</param>
    /// <param name="numbers">The numbers.</param>
    public void Keep(string name, params ReadOnlySpan<double> numbers) => _numbers[name] = numbers.ToArray();

    /// <summary>Gets numbers that an earlier stage kept.</summary>
    /// <param name="name">The name.</param>
    /// <exception cref="InvalidOperationException">No stage kept such numbers.</exception>
    public ReadOnlySpan<double> GetKept(string name) => _numbers.TryGetValue(name, out double[]? numbers)
        ? numbers
        : throw new InvalidOperationException($"No stage kept the numbers {Sentence.Quote(name)}.");

    /// <summary>Gets a number that a stage keeps between rounds (<see cref="Stage.Scalars"/>).</summary>
    /// <param name="name">The number's name.</param>
    public double GetScalar(string name) => _scalars[name];

    /// <summary>Sets a number that is kept for the next round.</summary>
    /// <param name="name">The number's name.</param>
    /// <param name="value">The number.</param>
    public void SetScalar(string name, double value) => _scalars[name] = value;

    /// <summary>Adds a number of each client to the round's report.</summary>
    /// <param name="stage">The stage that reports.</param>
    /// <param name="name">What the numbers are: <c>score</c>, <c>factor</c>.</param>
    /// <param name="values">One number for each of <see cref="Clients"/>.</param>
    public void Report(Stage stage, string name, ReadOnlySpan<double> values)
    {
        ArgumentNullException.ThrowIfNull(stage);
        if (values.Length != Clients.Count)
            throw new ArgumentException($"There are {values.Length} values for {Clients.Count} clients.", nameof(values));
        _reports.Add(new StageReport(stage.RuleName, name, [.. Clients.Select(client => client.Id)], values.ToArray()));
    }

    /// <summary>Adds a sentence to the report's notes.</summary>
    /// <param name="sentence">What a reader of the report should know.</param>
    public void Note(string sentence) => _notes.Add(sentence);

    /// <summary>Creates the exception that refuses the round.</summary>
    /// <param name="sentence">What was expected and what was found.</param>
    public static RoundRejectedException Refuse(string sentence) => new(RoundFault.Round, sentence);

    internal bool Has(RoundStatistic statistic) => _statistics.ContainsKey(statistic.Name);

    /// <summary>Forgets what was measured, but for some statistics and those before them.</summary>
    internal void Forget(IEnumerable<RoundStatistic> except)
    {
        HashSet<string> kept = [.. except.SelectMany(statistic => statistic.WithThoseBefore()).Select(statistic => statistic.Name)];
        foreach (string name in _statistics.Keys.Where(name => !kept.Contains(name)).ToList())
            _statistics.Remove(name);
    }

    internal void Set(RoundStatistic statistic, double[] sums) => _statistics[statistic.Name] = sums;

    /// <summary>Continues with the clients that a weighting left. What was measured of others is forgotten.</summary>
    /// <exception cref="RoundRejectedException">A weight or a factor is not finite, or all weights are 0.</exception>
    internal void Apply(Stage stage, ClientWeights weights)
    {
        RoundClient[] clients = weights.Apply(stage.RuleName, Clients, namesClients: !IsPrivate);
        if (clients.Length != Clients.Count || clients.Zip(Clients).Any(pair => pair.First.Factor != pair.Second.Factor))
            _statistics.Clear();
        Clients = clients;
        HasFactors = clients.Any(client => client.Factor != 1);
    }
}
