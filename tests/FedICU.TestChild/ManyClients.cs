using System.Diagnostics;

namespace FedICU.TestChild;

/// <summary>Aggregates all files of a folder, without those that cannot be read, and says what that took.</summary>
internal static class ManyClients
{
    public static async Task<int> AggregateAsync(string strategy, string output, string global, string folder)
    {
        using TensorSource model = TensorSource.Open(global);
        var handles = new Handles();
        var round = new AggregationRound(model, new RoundOptions { Threads = 2, OnUnreadable = FaultPolicy.DropClient, Quorum = 1, Progress = handles });
        foreach (string file in Directory.EnumerateFiles(folder))
            round.Add(ClientUpdate.FromFile(Path.GetFileNameWithoutExtension(file), file, examples: 1));
        AggregationResult result = await AggregatorCatalog.Create(strategy, []).Aggregator.AggregateAsync(round, TensorSink.ToFile(output));
        Console.WriteLine($"peak {Process.GetCurrentProcess().PeakWorkingSet64}");
        Console.WriteLine($"handles {handles.Most}");
        Console.WriteLine($"told {handles.Told}");
        foreach (ClientReport client in result.Report.Clients.Where(client => !client.Included))
            Console.WriteLine($"left out {client.Reason}");
        return 0;
    }

    private sealed class Handles : IProgress<RoundProgress>
    {
        public int Most { get; private set; }

        public int Told { get; private set; }

        public void Report(RoundProgress value)
        {
            Told++;
            Most = Math.Max(Most, Directory.GetFileSystemEntries("/proc/self/fd").Length);
        }
    }
}
