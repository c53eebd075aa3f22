using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;

namespace FedICU.Benchmarks;

internal static class Program
{
    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true, Converters = { new JsonStringEnumConverter() } };

    private static int Main(string[] args)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        bool quick = args.Contains("--quick");
        int runs = 1;
        string only = "";
        int[]? counts = null;
        bool onlyRules = args.Contains("--rules");
        for (int i = 0; i < args.Length; i++)
        {
            if (args[i] == "--runs" && i + 1 < args.Length && int.TryParse(args[i + 1], out runs) && runs > 0)
                i++;
            else if (args[i] == "--only" && i + 1 < args.Length)
                only = args[++i];
            else if (args[i] == "--clients" && i + 1 < args.Length)
                counts = [.. args[++i].Split(',').Select(count => int.TryParse(count, out int number) ? number : 0)];
            else if (args[i] is not ("--rules" or "--quick" or "--add" or "--check"))
                return Usage();
        }

        string root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "FedICU.Core.sln")))
            root = Path.GetDirectoryName(root) ?? throw new DirectoryNotFoundException("The suite runs inside its repository.");
        string artifacts = Path.Combine(root, "artifacts", "benchmarks");
        Directory.CreateDirectory(artifacts);
        if (args.Contains("--check"))
            return Check.Run(artifacts);
        var time = System.Diagnostics.Stopwatch.StartNew();
        string results = Path.Combine(artifacts, "results.json");
        using var suite = new Suite(artifacts, quick, onlyRules);
        if (args.Contains("--add") && File.Exists(results))
            suite.Add(JsonSerializer.Deserialize<Row[]>(File.ReadAllText(results), Json)!);
        var external = new ExternalPeers(Path.Combine(root, "benchmarks"), artifacts, quick ? 0.3 : 1.5);
        for (int run = 0; run < runs; run++)
        {
            suite.NextRun();
            foreach ((Layout layout, DType dtype, int[] clients) in Suite.Grid(quick))
            {
                if (!Regex.IsMatch($"{layout.Name}, {dtype.SafetensorsName}", only) || counts?.Intersect(clients).Any() == false)
                    continue;
                suite.Measure(layout, dtype, [.. clients.Where(count => counts?.Contains(count) != false)], external);
                // saved after each case, so that a run that is stopped can continue with --add
                File.WriteAllText(results, JsonSerializer.Serialize(suite.Rows, Json));
            }

            suite.MeasureOverhead();
        }

        File.WriteAllText(results, JsonSerializer.Serialize(suite.Rows, Json));
        var figures = new Figures(suite.Rows);
        string tables = Tables.Write(figures);
        Console.WriteLine();
        Console.WriteLine(tables);
        File.WriteAllText(Path.Combine(artifacts, "results.md"), tables);
        Plot.Save(figures, Path.Combine(artifacts, "fedavg.svg"));
        string folder = Path.GetRelativePath(Environment.CurrentDirectory, artifacts);
        Console.WriteLine($"Written to {folder}: results.md, results.json, fedavg.svg; after {time.Elapsed.TotalMinutes:0.0} minutes.");
        return 0;
    }

    private static int Usage()
    {
        Console.Error.WriteLine("""
            dotnet run -c Release --project benchmarks/FedICU.Benchmarks [-- OPTIONS]
              --quick      measures f32 and bf16, ten clients, two layouts: two to three minutes
              --runs N     measures everything N times; the tables give the minimum, median and maximum of the runs' medians
              --add        adds to the figures of earlier runs
              --only TEXT  measures the cases whose names match the regular expression TEXT, such as "LoRA r=8" or "BF16"
              --clients N  measures only these numbers of clients, such as 10,50
              --rules      measures only FedAvg, FedICU, the other rules (median, krum, ...) and their peers
              --check      checks in half a minute whether ratios, memory and reads keep their bounds; prints no figures
            """);
        return 2;
    }
}
