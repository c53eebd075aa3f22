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
        for (int i = 0; i < args.Length; i++)
        {
            if (args[i] == "--runs" && i + 1 < args.Length && int.TryParse(args[i + 1], out runs) && runs > 0)
                i++;
            else if (args[i] == "--only" && i + 1 < args.Length)
                only = args[++i];
            else if (args[i] is not ("--quick" or "--add" or "--check"))
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
        using var suite = new Suite(artifacts, quick);
        if (args.Contains("--add") && File.Exists(results))
            suite.Add(JsonSerializer.Deserialize<Row[]>(File.ReadAllText(results), Json)!);
        var external = new ExternalPeers(Path.Combine(root, "benchmarks"), artifacts, quick ? 0.3 : 1.5);
        for (int run = 0; run < runs; run++)
        {
            suite.NextRun();
            foreach ((Layout layout, DType dtype, int[] clients) in Suite.Grid(quick))
            {
                if (!Regex.IsMatch($"{layout.Name}, {dtype.SafetensorsName}", only))
                    continue;
                suite.Measure(layout, dtype, clients, external);
                File.WriteAllText(results, JsonSerializer.Serialize(suite.Rows, Json)); // hours of measuring outlive what stops them; --add goes on from here
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
        Console.WriteLine($"Written to {Path.GetRelativePath(Environment.CurrentDirectory, artifacts)}: results.md, results.json, fedavg.svg; after {time.Elapsed.TotalMinutes:0.0} minutes.");
        return 0;
    }

    private static int Usage()
    {
        Console.Error.WriteLine("""
            dotnet run -c Release --project benchmarks/FedICU.Benchmarks [-- OPTIONS]
              --quick      f32 and bf16, ten clients, two layouts: two to three minutes
              --runs N     the whole N times; the tables give the least, middle and greatest of the runs' medians
              --add        adds to the figures of the runs before
              --only TEXT  the cases whose name the regular expression TEXT finds, such as "LoRA r=8" or "BF16"
              --check      half a minute: no figures, but whether ratios, memory and reads keep their bounds
            """);
        return 2;
    }
}
