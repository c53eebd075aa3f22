using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace FedICU.Benchmarks;

/// <summary>
/// Measures the peers that run in separate processes and read the same models from files: python3 with numpy and torch,
/// and TorchSharp.
/// </summary>
internal sealed class ExternalPeers(string benchmarks, string artifacts, double seconds)
{
    private const string Python = "/usr/bin/python3";

    private readonly string _torchSharp = Path.Combine(benchmarks, "FedICU.Benchmarks.Torch");
    private bool _built;

    /// <param name="workload">The models.</param>
    /// <param name="add">Adds a peer's times, in milliseconds, and a note.</param>
    /// <param name="onlyRules">Whether only the peers of the other rules are measured.</param>
    public void Measure(Workload workload, Action<string, double[], string?> add, bool onlyRules = false)
    {
        string folder = Path.Combine(artifacts, "models");
        Directory.CreateDirectory(folder);
        try
        {
            workload.Global.SaveTo(TensorSink.ToFile(Path.Combine(folder, "global.safetensors")));
            for (int k = 0; k < workload.Clients; k++)
                workload.Client(k).SaveTo(TensorSink.ToFile(Path.Combine(folder, $"client-{k:000}.safetensors")));
            string[] rules = ["median", "krum", "bulyan", .. onlyRules ? [] : (string[])["fedicu"]];
            foreach (string rule in rules)
            {
                TensorSink result = TensorSink.ToFile(Path.Combine(folder, rule + ".safetensors"));
                IAggregator aggregator = StrategyRegistry.Default.Create(rule, []).Aggregator;
                aggregator.AggregateAsync(Rounds.NewRound(workload), result).GetAwaiter().GetResult();
            }

            if (File.Exists(Python))
                Run("the Python peers", Python, [Path.Combine(benchmarks, "python_peers.py")], folder, add);
            else
                add("the Python peers", [], $"{Python} is missing");
            if (onlyRules)
                return;
            // the first build downloads libtorch
            _built = _built || Start("dotnet", ["build", "-c", "Release", _torchSharp, "--nologo", "-v", "q"]).Code == 0;
            if (_built)
                Run(Names.TorchSharp, "dotnet", ["run", "-c", "Release", "--no-build", "--project", _torchSharp, "--"], folder, add);
            else
                add(Names.TorchSharp, [], "its project does not build: can NuGet packages be downloaded?");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private void Run(string name, string command, string[] arguments, string folder, Action<string, double[], string?> add)
    {
        string output = Path.Combine(folder, "peers.json");
        (int code, string error) = Start(command, [.. arguments, folder, output, seconds.ToString(CultureInfo.InvariantCulture)]);
        if (code != 0)
        {
            add(name, [], error.Split('\n', StringSplitOptions.RemoveEmptyEntries).LastOrDefault() ?? $"exit code {code}");
            return;
        }

        foreach (JsonElement peer in JsonDocument.Parse(File.ReadAllText(output)).RootElement.EnumerateArray())
        {
            add(
                peer.GetProperty("name").GetString()!,
                [.. peer.GetProperty("milliseconds").EnumerateArray().Select(time => time.GetDouble())],
                peer.TryGetProperty("note", out JsonElement note) ? note.GetString() : null);
        }
    }

    private static (int Code, string Error) Start(string command, string[] arguments)
    {
        var start = new ProcessStartInfo(command, arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        // these variables would tune numpy's OpenBLAS for another CPU
        foreach (string name in (string[])["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"])
            start.Environment.Remove(name);
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error + output.Result);
    }
}
