using System.Globalization;
using System.Text;
using FederatedLanguages;

namespace FedICU.Experiments;

/// <summary>
/// What FlexLoRA's result loses of the clients' mean product at each rank, and what FedAvg and HetLoRA lose: norm(W - s
/// B A) / norm(W), for each pair of a folder of adapters.
/// </summary>
/// <param name="Name">What the adapters are.</param>
/// <param name="Modules">The names of the pairs.</param>
/// <param name="Rank">The rank of the clients' adapters.</param>
/// <param name="FlexLora">The errors of FlexLoRA by rank, from 1, and by module.</param>
/// <param name="FedAvg">The errors of FedAvg by module.</param>
/// <param name="HetLora">The errors of HetLoRA by module.</param>
internal sealed record RankErrors(
    string Name, IReadOnlyList<string> Modules, int Rank, IReadOnlyList<double[]> FlexLora, double[] FedAvg, double[] HetLora)
{
    // the sample's names of folders
    private const string Clients = "client-*", Global = "global";

    /// <summary>
    /// Measures the adapters that a run of the sample with FedAvg left: those of its first and of its last round, and
    /// those that each client trained alone.
    /// </summary>
    /// <param name="folder">The sample's output folder.</param>
    /// <exception cref="NoTextException">A folder is missing.</exception>
    public static IReadOnlyList<RankErrors> Measure(string folder)
    {
        string federation = Path.Combine(folder, "fedavg");
        string[] rounds = Directory.Exists(federation) ? [.. Directory.GetDirectories(federation, "round-*").Order()] : [];
        if (rounds.Length < 2)
        {
            throw new NoTextException(
                $"'{federation}' has {rounds.Length} folders round-*; the sample's output of two or more rounds was expected.");
        }

        return
        [
            Measure("round 1", rounds[0]), Measure($"round {rounds.Length}", rounds[^1]),
            Measure("trained alone", Path.Combine(folder, "alone")),
        ];
    }

    /// <summary>Writes a table: a row for each rank, then FedAvg and HetLoRA.</summary>
    public string Table()
    {
        var text = new StringBuilder();
        AppendRow(Name, Modules);
        AppendRow("---", Modules.Select(_ => "--:"));
        foreach ((int i, double[] errors) in FlexLora.Index())
            AppendRow($"flexlora, rank {i + 1}", errors.Select(Text));
        AppendRow($"fedavg, rank {Rank}", FedAvg.Select(Text));
        AppendRow($"hetlora, rank {Rank}", HetLora.Select(Text));
        return text.ToString();

        void AppendRow(string first, IEnumerable<string> cells) => text.AppendLine($"| {first} | {string.Join(" | ", cells)} |");

        static string Text(double value) => value.ToString("0.000", CultureInfo.InvariantCulture);
    }

    private static RankErrors Measure(string name, string folder)
    {
        string[] clients = Directory.Exists(folder) ? [.. Directory.GetDirectories(folder, Clients).Order()] : [];
        if (clients.Length == 0)
            throw new NoTextException($"'{folder}' has no folder {Clients}; adapters of the sample's clients were expected.");
        // clients that trained alone have no global adapter; as all send whole adapters, only its shapes count
        string like = Path.Combine(folder, Global);
        using TensorSource global = TensorSource.Open(Directory.Exists(like) ? like : clients[0]);
        IReadOnlyList<LoraPairReport> fedAvg = Aggregate(new FedAvgAggregator());
        IReadOnlyList<LoraPairReport> hetLora = Aggregate(new HetLoraAggregator());
        int rank = (int)hetLora[0].Rank!.Value;
        // up to the sum of the clients' ranks, at which nothing is lost
        double[][] flexLora = [.. Enumerable.Range(1, rank * clients.Length)
            .Select(kept => Errors(Aggregate(new FlexLoraAggregator(new FlexLoraOptions { Rank = kept }))))];
        return new RankErrors(
            name, [.. fedAvg.Select(pair => pair.Name.Split('.')[^1])], rank, flexLora, [.. fedAvg.Select(pair => pair.CrossTerm)],
            Errors(hetLora));

        IReadOnlyList<LoraPairReport> Aggregate(IAggregator rule)
        {
            var round = new AggregationRound(global, new RoundOptions { Statistics = true });
            foreach (string client in clients)
                round.Add(ClientUpdate.FromFile(Path.GetFileName(client), client));
            using var output = new MemorySink();
            return rule.AggregateAsync(round, output).GetAwaiter().GetResult().Report.LoraPairs;
        }

        static double[] Errors(IReadOnlyList<LoraPairReport> pairs) => [.. pairs.Select(pair => pair.RelativeError!.Value)];
    }
}
