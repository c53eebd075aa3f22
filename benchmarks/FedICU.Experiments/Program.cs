using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using FederatedLanguages;
using FedICU.Benchmarks.Torch;
using Spectre.Console;
using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>What all runs have in common.</summary>
internal sealed record ExperimentOptions(int Rounds, int Steps, int Rows, double LearningRate, int Pretraining)
{
    /// <summary>What figures that are compared must agree in; rounds may be added.</summary>
    public string Name => $"base-{Pretraining}-steps-{Steps}-rate-{LearningRate}";
}

internal static class Program
{
    private static int Main(string[] args)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        var quick = new Option<bool>("--quick") { Description = "Five minutes: one seed, two rounds, a few methods." };
        var data = new Option<string?>("--data") { Description = "A folder with a folder for each domain, with train.txt(.gz) and test.txt(.gz), one called general. Default: the SDK's messages in four languages." };
        var seeds = new Option<int?>("--seeds") { Description = "How many seeds. Default: 3, with --quick 1." };
        var rounds = new Option<int?>("--rounds") { Description = "Rounds. Default: 6, with --quick 2." };
        var steps = new Option<int>("--steps") { Description = "Steps of a client in a round.", DefaultValueFactory = _ => 25 };
        var rate = new Option<double>("--learning-rate") { Description = "AdamW's.", DefaultValueFactory = _ => 2e-3 };
        var methods = new Option<string>("--methods") { Description = "Methods whose name the regular expression matches as a whole. Default: all, with --quick a few." };
        var scenarios = new Option<string>("--scenarios") { Description = $"Of {string.Join(", ", Scenario.All.Select(scenario => scenario.Name))}, as --methods.", DefaultValueFactory = _ => "domains" };
        var pretrain = new Option<int?>("--pretrain") { Description = "Steps of the base's training. Default: 2000, with --quick 150." };
        var output = new Option<string>("--out") { Description = "Results, checkpoints, plots; what is there is gone on from.", DefaultValueFactory = _ => Path.Combine("artifacts", "experiments") };
        var show = new Option<bool>("--show") { Description = "Runs nothing: tables and plots of the results." };
        var command = new RootCommand("Does FedICU keep what averaging forgets? Federated LoRA of a small language model, method beside method. A run that is stopped goes on where it was.")
        {
            quick, data, seeds, rounds, steps, rate, methods, scenarios, pretrain, output, show,
        };
        command.SetAction((parsed, cancellationToken) => Task.Run(() =>
        {
            bool few = parsed.GetValue(quick);
            string only = parsed.GetValue(methods) ?? (few ? string.Join('|', Method.Quick.Select(Regex.Escape)) : ".*");
            var options = new ExperimentOptions(parsed.GetValue(rounds) ?? (few ? 2 : 6), parsed.GetValue(steps), 16, parsed.GetValue(rate), parsed.GetValue(pretrain) ?? (few ? 150 : 2000));
            string folder = Path.Combine(parsed.GetValue(output)!, few ? "quick" : "");
            try
            {
                if (OperatingSystem.IsLinux())
                    WeakVersions.LoadLibtorch();
                Method[] chosen = [.. Method.All.Where(method => Regex.IsMatch(method.Name, $"^({only})$"))];
                Scenario[] which = [.. Scenario.All.Where(scenario => Regex.IsMatch(scenario.Name, $"^({parsed.GetValue(scenarios)})$"))];
                if (chosen.Length == 0 || which.Length == 0)
                    throw new NoTextException($"No {(chosen.Length == 0 ? "method" : "scenario")} has such a name; there are {string.Join(", ", chosen.Length == 0 ? Method.All.Select(method => method.Name) : Scenario.All.Select(scenario => scenario.Name))}.");
                return Execute(options, folder, parsed.GetValue(data), few, parsed.GetValue(seeds) ?? (few ? 1 : 3), chosen, which, parsed.GetValue(show), cancellationToken);
            }
            catch (Exception e) when (e is NoTextException or FedIcuException or IOException or DllNotFoundException)
            {
                Console.Error.WriteLine(e.Message);
                return 1;
            }
            catch (OperationCanceledException)
            {
                Console.Error.WriteLine($"Stopped; the same command goes on from {folder}.");
                return 130;
            }
        }, CancellationToken.None));
        return command.Parse(args).Invoke();
    }

    private static int Execute(
        ExperimentOptions options, string folder, string? data, bool quick, int seeds, Method[] methods, Scenario[] scenarios, bool show, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(folder);
        string basePath = Path.Combine(folder, $"base-{Corpus.SourceOf(data)}-{options.Pretraining}.safetensors");
        BytePair? encoding = null;
        Dictionary<string, Tensor>? weights = File.Exists(basePath) ? LoadBase(basePath, out encoding) : null;
        Corpus corpus = Corpus.Read(data, quick ? 12 << 10 : 32 << 10, encoding);
        var results = new ResultFile(Path.Combine(folder, "results.jsonl"));
        if (!show)
        {
            AnsiConsole.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn()).Start(progress =>
            {
                Transformer model = weights is null ? Pretrain(corpus, options.Pretraining, basePath, progress, cancellationToken) : new Transformer(weights);
                ProgressTask all = progress.AddTask($"{methods.Length} methods, {scenarios.Length} scenarios, {seeds} seeds", maxValue: methods.Length * scenarios.Length * seeds * (options.Rounds + 1));
                // a seed after the other, so that what was stopped can be compared
                foreach ((int seed, Scenario scenario) in from seed in Enumerable.Range(1, seeds) from scenario in scenarios select (seed, scenario))
                {
                    using var first = new FirstRound();
                    foreach (Method method in methods)
                    {
                        all.Description = $"seed {seed}, {scenario.Name}, {method.Name}";
                        using var run = new Run(method, scenario, seed, corpus, model, options, first, results, folder);
                        run.Execute(() => all.Increment(1), cancellationToken);
                    }
                }
            });
        }

        using StreamWriter tables = File.CreateText(Path.Combine(folder, "tables.md"));
        foreach (Scenario scenario in scenarios)
        {
            var summary = new Summary(results, options, corpus.Source, scenario.Name);
            string table = summary.Table();
            Console.WriteLine(table);
            tables.WriteLine(table);
            tables.WriteLine(summary.Statistics());
            Plots.Save(summary, folder);
        }

        Console.WriteLine($"Written to {folder}: results.jsonl, tables.md, plots.");
        return 0;
    }

    private static Transformer Pretrain(Corpus corpus, int steps, string path, ProgressContext progress, CancellationToken cancellationToken)
    {
        ProgressTask task = progress.AddTask("training the base", maxValue: steps);
        Transformer model = Transformer.Random(new Random(1));
        Training.Pretrain(model, corpus.GeneralTrain, steps, 32, new Random(2), (step, bits) =>
        {
            task.Description = $"training the base, {bits:0.00} bits a token";
            task.Value = step;
        }, cancellationToken);
        using var held = new TorchSharp.StateDictModel(model.Weights);
        held.Model.Add("merges", [corpus.Encoding.Merges.Count, 2], corpus.Encoding.Merges.SelectMany(pair => (int[])[pair.Left, pair.Right]).ToArray());
        held.Model.SaveTo(TensorSink.ToFile(path), cancellationToken);
        return model;
    }

    private static Dictionary<string, Tensor> LoadBase(string path, out BytePair encoding)
    {
        using TensorSource source = TensorSource.Open(path);
        var weights = new Dictionary<string, Tensor>();
        int[] merges = [];
        foreach (TensorInfo info in source.Tensors)
        {
            byte[] bytes = new byte[info.ByteLength];
            source.Read(info, 0, bytes);
            if (info.Name == "merges")
                merges = MemoryMarshal.Cast<byte, int>(bytes).ToArray();
            else
                weights.Add(info.Name, tensor(MemoryMarshal.Cast<byte, float>(bytes).ToArray(), info.Shape.Dimensions.ToArray()));
        }

        encoding = new BytePair([.. merges.Chunk(2).Select(pair => (pair[0], pair[1]))]);
        return weights;
    }
}
