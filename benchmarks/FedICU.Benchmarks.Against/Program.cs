using System.Diagnostics;
using System.Globalization;

namespace FedICU.Benchmarks;

/// <summary>
/// Compares the rounds of two builds of the library. Each build has a process that keeps the models; the rounds of the
/// two go in turn, so that the load of other processes meets both.
/// </summary>
internal static class Program
{
    private const int Clients = 10;
    private const int WarmUps = 3;

    private static int Main(string[] args)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        if (args is ["work"])
            return Work();
        if (args.Length != 3 || !int.TryParse(args[2], out int rounds) || rounds < 1)
        {
            Console.Error.WriteLine("FedICU.Benchmarks.Against BEFORE.dll AFTER.dll ROUNDS; benchmarks/against.sh starts it");
            return 2;
        }

        using Process before = Start(args[0]), after = Start(args[1]);
        Console.WriteLine($"| {Clients} clients | before ms | after ms | after / before | quartiles of the rounds' ratios |");
        Console.WriteLine("|---|--:|--:|--:|--:|");
        foreach (string layout in (string[])["LoRA r=8", "4096 x 4096"])
        {
            foreach (DType dtype in (DType[])[DType.F32, DType.BF16])
            {
                foreach (string strategy in (string[])["FedAvg", "FedICU", "FedAvg to fresh memory", "mask"])
                    Compare($"{layout};{dtype};{strategy}", rounds, before, after);
            }
        }

        before.StandardInput.Close();
        after.StandardInput.Close();
        return 0;
    }

    private static void Compare(string name, int rounds, Process before, Process after)
    {
        var times = new List<(double Before, double After)>();
        for (int i = -WarmUps; i < rounds; i++)
        {
            // neither build is always the second, which finds the processor warm
            double first = Ask(i % 2 == 0 ? before : after, name), second = Ask(i % 2 == 0 ? after : before, name);
            if (i >= 0)
                times.Add(i % 2 == 0 ? (first, second) : (second, first));
        }

        double[] ratios = [.. times.Select(pair => pair.After / pair.Before).Order()];
        double old = Median(times.Select(pair => pair.Before)), now = Median(times.Select(pair => pair.After));
        Console.WriteLine($"| {name.Replace(";", ", ", StringComparison.Ordinal)} | {old:0.00} | {now:0.00} | {now / old:0.00} "
            + $"| {ratios[rounds / 4]:0.00} to {ratios[rounds * 3 / 4]:0.00} |");
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static Process Start(string library) => Process.Start(
        new ProcessStartInfo("dotnet", [library, "work"]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;

    private static double Ask(Process process, string name)
    {
        process.StandardInput.WriteLine(name);
        process.StandardInput.Flush();
        return double.Parse(process.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"{name} failed."));
    }

    /// <summary>Reads the names of cases and writes the milliseconds of a round of each.</summary>
    private static int Work()
    {
        Workload? workload = null;
        using var output = new MemorySink();
        while (Console.ReadLine()?.Split(';') is [string layout, string type, string strategy])
        {
            DType dtype = Enum.Parse<DType>(type);
            if (workload is null || workload.Layout.Name != layout || workload.DType != dtype)
            {
                workload?.Dispose();
                workload = new(layout.StartsWith('L') ? Layout.Lora(8) : Layout.Matrix(4096, 4096), dtype, Clients) { Clients = Clients };
            }

            if (strategy == "mask")
            {
                var watch = Stopwatch.StartNew();
                new FedIcuClient().CreateUpdate(workload.Global, workload.Client(0), output);
                Console.WriteLine(watch.Elapsed.TotalMilliseconds);
                continue;
            }

            IAggregator aggregator = strategy == "FedICU" ? new FedIcuAggregator() : new FedAvgAggregator();
            using MemorySink? fresh = strategy == "FedAvg to fresh memory" ? new MemorySink() : null;
            var round = new AggregationRound(workload.Global);
            for (int k = 0; k < Clients; k++)
                round.Add(ClientUpdate.FromTensors($"client-{k}", workload.Client(k), k + 1));
            var time = Stopwatch.StartNew();
            aggregator.AggregateAsync(round, fresh ?? output).GetAwaiter().GetResult();
            Console.WriteLine(time.Elapsed.TotalMilliseconds);
        }

        workload?.Dispose();
        return 0;
    }
}
