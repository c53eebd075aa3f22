using System.CommandLine;
using System.CommandLine.Parsing;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using FederatedLanguages;
using FedICU.Benchmarks.Torch;
using Spectre.Console;

namespace FedICU.Experiments;

/// <summary>What all runs have in common.</summary>
internal sealed record ExperimentOptions(int Rounds, int Steps, int Rows, double LearningRate, int Pretraining, int TestWindows)
{
    /// <summary>What figures that are compared must agree in; rounds may be added.</summary>
    public string Name => $"base {Pretraining}, {Steps} steps of {Rows}, rate {LearningRate}, {TestWindows} test windows";
}

internal static class Program
{
    /// <summary>What a run was of: its texts' hash and, of each seed, the base and the machine.</summary>
    private sealed record Ran(string Texts, IReadOnlyDictionary<int, (string Base, string Machine)> Seeds);

    private static int Main(string[] args)
    {
        var quick = new Option<bool>("--quick") { Description = "Five minutes: one seed, two rounds, a few methods." };
        var data = new Option<string?>("--data") { Description = "A folder with a folder for each domain, with train.txt(.gz) and test.txt(.gz), one called general. Default: the SDK's messages in four languages." };
        var seeds = new Option<int?>("--seeds") { Description = "How many seeds. Default: 3, with --quick 1, with --show all that there are." };
        var rounds = new Option<int?>("--rounds") { Description = "Rounds. Default: 6, with --quick 2." };
        var steps = new Option<int>("--steps") { Description = "Steps of a client in a round.", DefaultValueFactory = _ => 25 };
        var rate = new Option<double>("--learning-rate") { Description = "AdamW's.", DefaultValueFactory = _ => 2e-3 };
        var methods = new Option<string>("--methods") { Description = "Methods whose name the regular expression matches as a whole. Default: all, with --quick a few." };
        var scenarios = new Option<string>("--scenarios") { Description = $"Of {string.Join(", ", Scenario.All.Select(scenario => scenario.Name))}, as --methods.", DefaultValueFactory = _ => "domains" };
        var pretrain = new Option<int?>("--pretrain") { Description = "Steps of the base's training. Default: 2000, with --quick 150." };
        var output = new Option<string>("--out") { Description = "Results, checkpoints, plots; what is there is gone on from.", DefaultValueFactory = _ => Path.Combine("artifacts", "experiments") };
        var show = new Option<bool>("--show") { Description = "Runs nothing: tables and plots of the results." };
        var list = new Option<bool>("--list") { Description = "Names the methods and scenarios and what they are." };
        var command = new RootCommand("Does FedICU keep what averaging forgets? Federated LoRA of a small language model, method beside method. A run that is stopped goes on where it was.")
        {
            quick, data, seeds, rounds, steps, rate, methods, scenarios, pretrain, output, show, list,
        };
        foreach (Option<int?> count in (Option<int?>[])[seeds, rounds, pretrain])
            count.Validators.Add(AtLeastOne);
        steps.Validators.Add(AtLeastOne);
        foreach (Option<string> names in (Option<string>[])[methods, scenarios])
            names.Validators.Add(IsExpression);
        rate.Validators.Add(option =>
        {
            if (option.Tokens.Count == 1 && double.TryParse(option.Tokens[0].Value, out double value) && !(value > 0 && double.IsFinite(value)))
                option.AddError($"{option.Option.Name} is {value}; a number greater than 0 was expected.");
        });
        output.Validators.Add(option =>
        {
            if (option.Tokens is [{ Value: "" }])
                option.AddError($"{option.Option.Name} is empty; a folder was expected.");
        });
        command.SetAction((parsed, cancellationToken) => Task.Run(() =>
        {
            if (parsed.GetValue(list))
            {
                Console.WriteLine("Methods (*: of the short run):");
                foreach (Method method in Method.All)
                    Console.WriteLine($"{(Method.Quick.Contains(method.Name) ? '*' : ' ')} {method.Name,-30} {method.Does} [{method.Definition}]");
                Console.WriteLine("Scenarios:");
                foreach (Scenario scenario in Scenario.All)
                    Console.WriteLine($"  {scenario.Name,-30} {scenario.Does}");
                return 0;
            }

            bool few = parsed.GetValue(quick);
            string folder = Path.Combine(parsed.GetValue(output)!, few ? "quick" : "");
            var options = new ExperimentOptions(
                parsed.GetValue(rounds) ?? (few ? 2 : 6), parsed.GetValue(steps), 16, parsed.GetValue(rate), parsed.GetValue(pretrain) ?? (few ? 150 : 2000), few ? 32 : 96);
            try
            {
                Method[] chosen = [.. Method.All.Where(method => parsed.GetValue(methods) is { } only ? Whole(only).IsMatch(method.Name) : !few || Method.Quick.Contains(method.Name))];
                Scenario[] which = [.. Scenario.All.Where(scenario => Whole(parsed.GetValue(scenarios)!).IsMatch(scenario.Name))];
                if (chosen.Length == 0 || which.Length == 0)
                    throw new NoTextException(chosen.Length == 0 ? $"No method is called '{parsed.GetValue(methods)}'; --list names them." : $"No scenario is called '{parsed.GetValue(scenarios)}'; --list names them.");
                Ran? ran = parsed.GetValue(show) ? null : Execute(options, folder, parsed.GetValue(data), parsed.GetValue(seeds) ?? (few ? 1 : 3), chosen, which, cancellationToken);
                // figures that cannot be compared have files of their own
                string other = string.Concat(((Option[])[rounds, steps, rate, pretrain]).Where(option => parsed.GetResult(option) is { Implicit: false })
                    .Select(option => $"{option.Name[1..]}-{parsed.GetResult(option)!.Tokens[0].Value}"));
                Show(options, folder, Corpus.SourceOf(parsed.GetValue(data)), ran, parsed.GetValue(seeds), chosen, which, other);
                return 0;
            }
            catch (Exception e) when (e is NoTextException or FedIcuException or IOException or InvalidDataException or UnauthorizedAccessException or DllNotFoundException)
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
        // a step or a measurement ends before the process does
        return command.Parse(args).Invoke(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) });

        static Regex Whole(string expression) => new($"^({expression})$");

        static void AtLeastOne(OptionResult option)
        {
            if (option.Tokens.Count == 1 && int.TryParse(option.Tokens[0].Value, out int value) && value < 1)
                option.AddError($"{option.Option.Name} is {value}; at least 1 was expected.");
        }

        static void IsExpression(OptionResult option)
        {
            try
            {
                foreach (Token token in option.Tokens)
                    _ = Whole(token.Value);
            }
            catch (RegexParseException e)
            {
                option.AddError($"{option.Option.Name}: {e.Message}");
            }
        }
    }

    /// <summary>Runs what is missing.</summary>
    private static Ran Execute(ExperimentOptions options, string folder, string? data, int seeds, Method[] methods, Scenario[] scenarios, CancellationToken cancellationToken)
    {
        WeakVersions.LoadLibtorch();
        Corpus corpus = Corpus.Read(data, texts => File.Exists(BaseOf(texts, 1)) ? EncodingOf(BaseOf(texts, 1)) : null);
        Directory.CreateDirectory(folder);
        using var results = new ResultFile(ResultsIn(folder), adds: true);
        (Scenario Scenario, Method Method)[] runs = [.. from scenario in scenarios from method in methods where scenario.UnequalSizes || !method.Uniform select (scenario, method)];
        var ran = new Dictionary<int, (string, string)>();
        AnsiConsole.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn()).Start(progress =>
        {
            ProgressTask all = progress.AddTask($"{runs.Length} runs, {seeds} seeds", maxValue: runs.Length * seeds * (options.Rounds + 1));
            // a seed after the other, so that what was stopped can be compared
            for (int seed = 1; seed <= seeds; seed++)
            {
                string path = BaseOf(corpus.Texts, seed);
                Transformer model = File.Exists(path) ? new Transformer(Transformer.ReadAll(path)) : Pretrain(corpus, options.Pretraining, seed, path, progress, cancellationToken);
                string weights = Corpus.Short(SHA256.HashData(File.ReadAllBytes(path)));
                string machine = $"{RuntimeInformation.ProcessArchitecture}, vectors of {(Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128)} bits, {Environment.ProcessorCount} threads";
                ran[seed] = (weights, machine);
                foreach (Scenario scenario in scenarios)
                {
                    using var first = new FirstRound();
                    foreach ((_, Method method) in runs.Where(run => run.Scenario == scenario))
                    {
                        all.Description = $"seed {seed}, {scenario.Name}, {method.Name}";
                        var key = new RunKey(options.Name, corpus.Source, corpus.Texts, weights, machine, scenario.Name, method.Name, method.Definition, seed);
                        using var run = new Run(key, method, scenario, corpus, model, options, first, results, folder, cancellationToken);
                        run.Execute(() => all.Increment(1));
                    }
                }
            }
        });

        return new Ran(corpus.Texts, ran);

        string BaseOf(string texts, int seed) => Path.Combine(folder, $"base-{Corpus.SourceOf(data)}-{texts}-{options.Pretraining}-{seed}.safetensors");
    }

    private static string ResultsIn(string folder) => Path.Combine(folder, "results.jsonl");

    /// <summary>Tables and plots, a file of each for a scenario; of fewer seeds than there are in files of their own.</summary>
    private static void Show(ExperimentOptions options, string folder, string source, Ran? ran, int? seeds, Method[] methods, Scenario[] scenarios, string other)
    {
        if (!File.Exists(ResultsIn(folder)))
            throw new NoTextException($"There is no '{ResultsIn(folder)}'.");
        using var results = new ResultFile(ResultsIn(folder), adds: false);
        List<RoundResult> rows = [.. results.Rows.Where(row => row.Run.Options == options.Name && row.Run.Corpus == source)];
        List<string> written = [], nothing = [];
        foreach (Scenario scenario in scenarios)
        {
            // where texts changed and none were read, the last ones count
            var summary = new Summary(rows, options, source, ran?.Texts ?? rows.LastOrDefault()?.Run.Texts ?? "", ran?.Seeds, scenario, methods, seeds ?? int.MaxValue);
            if (summary.Methods.Count == 0)
            {
                nothing.Add(scenario.Name);
                continue;
            }

            string name = $"{source}-{scenario.Name}{other}{(summary.LeftOut.Count > 0 ? $"-{string.Join('-', summary.Seeds)}" : "")}", table = summary.Table();
            Console.WriteLine(table);
            if (seeds is null && summary.LeftOut.Count > 0)
                Console.WriteLine($"Seeds {string.Join(", ", summary.LeftOut)} are known of some of these methods and not of all.");
            File.WriteAllText(Path.Combine(folder, $"{name}.md"), $"{table}\n{summary.ByDomain()}\n{summary.BySeed()}{summary.Statistics()}");
            Plots.Save(summary, Path.Combine(folder, name));
            written.Add(name);
        }

        if (written.Count == 0)
            throw new NoTextException($"'{ResultsIn(folder)}' has no seed of {source} for which all of these methods are known after {options.Rounds} rounds of {string.Join(", ", scenarios.Select(scenario => scenario.Name))}, with {options.Name}.");
        if (nothing.Count > 0)
            Console.WriteLine($"Nothing is known of {string.Join(", ", nothing)}.");
        Console.WriteLine($"Written to {folder}: {string.Join(", ", written.Select(name => $"{name}.md"))}, plots.");
    }

    private static Transformer Pretrain(Corpus corpus, int steps, int seed, string path, ProgressContext progress, CancellationToken cancellationToken)
    {
        ProgressTask task = progress.AddTask($"training the base of seed {seed}", maxValue: steps);
        Transformer model = Transformer.Random(new Random(2 * seed - 1));
        Training.Pretrain(model, corpus.GeneralTrain, steps, 32, new Random(2 * seed), (step, bits) =>
        {
            task.Description = $"training the base, {bits:0.00} bits a token";
            task.Value = step;
        }, cancellationToken);
        using var held = new TorchSharp.StateDictModel(model.Weights);
        held.Model.Add("merges", [corpus.Encoding.Merges.Count, 2], corpus.Encoding.Merges.SelectMany(pair => (int[])[pair.Left, pair.Right]).ToArray());
        held.Model.SaveTo(TensorSink.ToFile(path), cancellationToken);
        return model;
    }

    private static BytePair EncodingOf(string path)
    {
        using TensorSource source = TensorSource.Open(path);
        TensorInfo merges = source.Tensors.First(info => info.Name == "merges");
        int[] pairs = new int[merges.ElementCount];
        source.Read(merges, 0, MemoryMarshal.AsBytes(pairs.AsSpan()));
        return new BytePair([.. pairs.Chunk(2).Select(pair => (pair[0], pair[1]))]);
    }
}
