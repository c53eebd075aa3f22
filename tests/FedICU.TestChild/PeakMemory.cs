using System.Diagnostics;

namespace FedICU.TestChild;

/// <summary>Aggregates files and prints the process's peak memory.</summary>
internal static class PeakMemory
{
    public static async Task<int> AggregateAsync(string strategy, string output, string global, string[] clients)
    {
        using TensorSource model = TensorSource.Open(global);
        var round = new AggregationRound(model, new RoundOptions { Threads = 2 });
        foreach (string client in clients)
            round.Add(ClientUpdate.FromFile(client, client, examples: 1));
        await StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(round, TensorSink.ToFile(output));
        Console.WriteLine(Process.GetCurrentProcess().PeakWorkingSet64);
        return 0;
    }
}
