using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FedICU;
using FedICU.Benchmarks.Bridges;
using FedICU.Benchmarks.Torch;
using FedICU.TorchSharp;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using TorchSharp;

// Compares a round through each bridge with the same round by the library: ten clients of 100 MB in ten F32 tensors of
// random numbers. The argument [ROUNDS] is the number of rounds of each, which run by turns.
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
int rounds = args.Length > 0 ? int.Parse(args[0]) : 7;
string root = AppContext.BaseDirectory;
while (!File.Exists(Path.Combine(root, "FedICU.Core.sln")))
    root = Path.GetDirectoryName(root) ?? throw new DirectoryNotFoundException("The benchmark runs inside its repository.");
string folder = Directory.CreateTempSubdirectory("fedicu-bridges-").FullName;
using var models = new Models(clients: 10, tensors: 10, rows: 2500, columns: 1000, folder);
try
{
    Console.WriteLine("| | strategy | library, ms | bridge, ms | what it adds, ms | share of the round |");
    Console.WriteLine("|---|---|--:|--:|--:|--:|");
    foreach (string strategy in (string[])["fedavg", "fedicu"])
    {
        IAggregator aggregator = StrategyRegistry.Default.Create(strategy, []).Aggregator;
        Compare(".NET host", strategy, () => InMemory(aggregator), Hosted(strategy));
        if (LoadTorch() is { } error)
            Console.WriteLine($"| TorchSharp | {strategy} | {error} |");
        else
            Compare("TorchSharp", strategy, () => InMemory(aggregator), Torch(aggregator));
        if (Python(strategy) is { } python)
            Show("Python", strategy, python.Library, python.Bridge);
        using var combiner = new Combiner(root, strategy, Path.Combine(folder, "spool"), models);
        Compare("FEDn", strategy, () => Files(aggregator), combiner.RunRound);
        string times = $"{Median(combiner.Storing):0} and {Median(combiner.Aggregating):0}";
        Console.WriteLine($"| FEDn: storing 11 models, aggregating | {strategy} | | {times} | | |");
    }
}
finally
{
    Directory.Delete(folder, recursive: true);
}

return 0;

void Compare(string name, string strategy, Action library, Action bridge)
{
    // warm up: the first rounds compile code and allocate memory
    library();
    bridge();
    List<double> direct = [], bridged = [];
    for (int i = 0; i < rounds; i++)
    {
        direct.Add(Milliseconds(library));
        bridged.Add(Milliseconds(bridge));
    }

    Show(name, strategy, Median(direct), Median(bridged));
}

void Show(string name, string strategy, double direct, double bridged)
{
    double added = bridged - direct;
    Console.WriteLine($"| {name} | {strategy} | {direct:0.0} | {bridged:0.0} | {added:0.0} | {100 * added / bridged:0} % |");
}

void InMemory(IAggregator aggregator, RoundOptions? options = null)
{
    using var sink = new MemorySink();
    aggregator.AggregateAsync(models.CreateRound(options), sink).GetAwaiter().GetResult();
}

void Files(IAggregator aggregator)
{
    using TensorSource global = TensorSource.Open(models.Path(0));
    var round = new AggregationRound(global);
    for (int k = 1; k <= models.Clients; k++)
        round.Add(ClientUpdate.FromFile($"client-{k:00}", models.Path(k), examples: k));
    aggregator.AggregateAsync(round, TensorSink.ToFile(Path.Combine(folder, "next.safetensors"))).GetAwaiter().GetResult();
}

Action Hosted(string strategy)
{
    HostApplicationBuilder builder = Host.CreateApplicationBuilder();
    builder.Services.AddFedIcu(options => options.Strategy = strategy);
    IHost host = builder.Build();
    return () =>
    {
        using IServiceScope scope = host.Services.CreateScope();
        InMemory(scope.ServiceProvider.GetRequiredService<IAggregator>(), scope.ServiceProvider.GetRequiredService<RoundOptions>());
    };
}

Action Torch(IAggregator aggregator)
{
    Dictionary<string, torch.Tensor>[] dicts = [.. Enumerable.Range(0, models.Clients + 1).Select(models.CreateStateDict)];
    return () =>
    {
        using var received = new StateDictModel(dicts[0]);
        var round = new AggregationRound(received.Model);
        StateDictModel[] updates = [.. dicts.Skip(1).Select(dict => new StateDictModel(dict))];
        for (int k = 0; k < updates.Length; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k + 1:00}", updates[k].Model, examples: k + 1));
        var sink = new StateDictSink(dicts[0]);
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        Array.ForEach(updates, update => update.Dispose());
        foreach (torch.Tensor tensor in sink.StateDict.Values)
            tensor.Dispose();
    };
}

// returns the error message, or null
string? LoadTorch()
{
    try
    {
        WeakVersions.LoadLibtorch();
        return null;
    }
    catch (DllNotFoundException e)
    {
        return e.Message;
    }
}

(double Library, double Bridge)? Python(string strategy)
{
    string[] arguments = [Path.Combine(root, "benchmarks", "python_bridge.py"), strategy, $"{rounds}"];
    var start = new ProcessStartInfo("/usr/bin/python3", arguments) { RedirectStandardOutput = true };
    start.Environment["FEDICU_LIBRARY"] = Path.Combine(root, "artifacts", "bin", "FedICU.Interop", "release", "libfedicu.dll");
    start.Environment["PYTHONPATH"] = Path.Combine(root, "src", "FedICU.Interop", "python");
    start.Environment["PYTHONDONTWRITEBYTECODE"] = "1";
    using Process process = Process.Start(start)!;
    string output = process.StandardOutput.ReadToEnd();
    process.WaitForExit();
    if (process.ExitCode != 0)
    {
        Console.WriteLine($"| Python | {strategy} | python3 with numpy is missing, or failed |");
        return null;
    }

    double[] times = JsonSerializer.Deserialize<double[]>(output)!;
    return (times[0], times[1]);
}

static double Milliseconds(Action action)
{
    var time = Stopwatch.StartNew();
    action();
    return time.Elapsed.TotalMilliseconds;
}

static double Median(IEnumerable<double> values) => values.Order().ElementAt(values.Count() / 2);
