using System.Diagnostics;

namespace FedICU.TestChild;

/// <summary>Aggregates all readable files of a folder, and prints the memory and file handles that this took.</summary>
internal static class ManyClients
{
    public static async Task<int> AggregateAsync(string strategy, string output, string global, string folder)
    {
        using TensorSource model = TensorSource.Open(global);
        var handles = new HandleCounter();
        var options = new RoundOptions { Threads = 2, OnUnreadable = FaultPolicy.DropClient, Quorum = 1, Progress = handles };
        var round = new AggregationRound(model, options);
        foreach (string file in Directory.EnumerateFiles(folder))
            round.Add(ClientUpdate.FromFile(Path.GetFileNameWithoutExtension(file), file, examples: 1));
        StageAggregator aggregator = StrategyRegistry.Default.Create(strategy, []).Aggregator;
        AggregationResult result = await aggregator.AggregateAsync(round, TensorSink.ToFile(output));
        Console.WriteLine($"peak {Process.GetCurrentProcess().PeakWorkingSet64}");
        Console.WriteLine($"handles {handles.Most}");
        Console.WriteLine($"told {handles.Reports}");
        foreach (ClientReport client in result.Report.Clients.Where(client => !client.Included))
            Console.WriteLine($"left out {client.Reason}");
        return 0;
    }

    private sealed class HandleCounter : IProgress<RoundProgress>
    {
        public int Most { get; private set; }

        public int Reports { get; private set; }

        public void Report(RoundProgress value)
        {
            Reports++;
            Most = Math.Max(Most, Directory.GetFileSystemEntries("/proc/self/fd").Length);
        }
    }
}
