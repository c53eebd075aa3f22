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

/// <summary>The command line of the experiments.</summary>
internal static class Program
{
    /// <summary>
    /// The inputs of an execution: the hash of its texts and, for each seed, the base and the machine; and what failed.
    /// </summary>
    private sealed record Ran(
        string Texts, IReadOnlyDictionary<int, (string Base, string Machine)> Seeds, IReadOnlyList<RunFailure> Failures);

    private static int Main(string[] args)
    {
        LoraStrategies.AddToDefault();
        var quick = new Option<bool>("--quick") { Description = "A short run of five minutes: one seed, two rounds, a few methods." };
        var data = new Option<string?>("--data")
        {
            Description = "A folder with a subfolder for each domain, with train.txt(.gz) and test.txt(.gz). " +
                "One domain is named general. Default: the SDK's messages in four languages.",
        };
        var seeds = new Option<int?>("--seeds")
        {
            Description = "The number of seeds. Default: 3; with --quick 1; with --show all that have results.",
        };
        var rounds = new Option<int?>("--rounds") { Description = "The number of rounds. Default: 6, with --quick 2." };
        var steps = new Option<int>("--steps") { Description = "A client's steps in a round.", DefaultValueFactory = _ => 25 };
        var rate = new Option<double>("--learning-rate") { Description = "The learning rate of AdamW.", DefaultValueFactory = _ => 2e-3 };
        var methods = new Option<string>("--methods")
        {
            Description = "A regular expression that matches the whole names of the methods to run. Default: all, with --quick a few.",
        };
        var scenarios = new Option<string>("--scenarios")
        {
            Description = "A regular expression that matches the whole names of the scenarios to run. " +
                $"Names: {string.Join(", ", Scenario.All.Select(scenario => scenario.Name))}.",
            DefaultValueFactory = _ => "domains",
        };
        var pretrain = new Option<int?>("--pretrain") { Description = "The base's training steps. Default: 2000, with --quick 150." };
        var output = new Option<string>("--out")
        {
            Description = "The folder of results, checkpoints and plots. A run continues from the results in it.",
            DefaultValueFactory = _ => Path.Combine("artifacts", "experiments"),
        };
        var show = new Option<bool>("--show") { Description = "Runs nothing and shows tables and plots of the saved results." };
        var list = new Option<bool>("--list") { Description = "Lists the methods and scenarios with their descriptions." };
        var stress = new Option<int?>("--stress")
        {
            Description = "Trains clients side by side for this many seconds while memory is collected all the time, and " +
                "compares the weights with those of a run without collections.",
        };
        var rankErrors = new Option<string?>("--rank-errors")
        {
            Description = "Draws what flexlora's result loses at each rank, for the adapters in an output folder of the sample " +
                "FederatedLanguages (--strategies fedavg).",
        };
        var command = new RootCommand(
            "Does FedICU keep what averaging forgets? Compares methods of federated LoRA on a small language model. " +
            "A stopped run continues where it was.")
        {
            quick, data, seeds, rounds, steps, rate, methods, scenarios, pretrain, output, show, list, stress, rankErrors,
        };
        foreach (Option<int?> count in (Option<int?>[])[seeds, rounds, pretrain, stress])
            count.Validators.Add(AtLeastOne);
        steps.Validators.Add(AtLeastOne);
        foreach (Option<string> names in (Option<string>[])[methods, scenarios])
            names.Validators.Add(IsExpression);
        rate.Validators.Add(option =>
        {
            if (option.Tokens.Count != 1 || !double.TryParse(option.Tokens[0].Value, out double value))
                return;
            if (!(value > 0 && double.IsFinite(value)))
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
                {
                    char mark = Method.Quick.Contains(method.Name) ? '*' : ' ';
                    Console.WriteLine($"{mark} {method.Name,-30} {method.Does} [{method.Definition}]");
                }

                Console.WriteLine("Scenarios:");
                foreach (Scenario scenario in Scenario.All)
                    Console.WriteLine($"  {scenario.Name,-30} {scenario.Does}");
                return 0;
            }

            if (parsed.GetValue(stress) is { } seconds)
            {
                WeakVersions.LoadLibtorch();
                (string sentence, bool isEqual) = Stress.Run(seconds, cancellationToken);
                Console.WriteLine(sentence);
                return isEqual ? 0 : 1;
            }

            bool few = parsed.GetValue(quick);
            string folder = Path.Combine(parsed.GetValue(output)!, few ? "quick" : "");
            var options = new ExperimentOptions(
                parsed.GetValue(rounds) ?? (few ? 2 : 6), parsed.GetValue(steps), 16, parsed.GetValue(rate),
                parsed.GetValue(pretrain) ?? (few ? 150 : 2000), few ? 32 : 96);
            try
            {
                if (parsed.GetValue(rankErrors) is { } adapters)
                {
                    DrawRankErrors(adapters, folder);
                    return 0;
                }

                string? names = parsed.GetValue(methods), scenarioNames = parsed.GetValue(scenarios);
                Method[] chosen = [.. Method.All.Where(method =>
                    names is null ? !few || Method.Quick.Contains(method.Name) : Whole(names).IsMatch(method.Name))];
                Scenario[] which = [.. Scenario.All.Where(scenario => Whole(scenarioNames!).IsMatch(scenario.Name))];
                if (chosen.Length == 0)
                    throw new NoTextException($"No method's name matches '{names}'; --list shows the names.");
                if (which.Length == 0)
                    throw new NoTextException($"No scenario's name matches '{scenarioNames}'; --list shows the names.");
                int seedCount = parsed.GetValue(seeds) ?? (few ? 1 : 3);
                Ran? ran = parsed.GetValue(show)
                    ? null
                    : Execute(options, folder, parsed.GetValue(data), seedCount, chosen, which, cancellationToken);
                // figures that cannot be compared get separate files
                string other = string.Concat(((Option[])[rounds, steps, rate, pretrain])
                    .Where(option => parsed.GetResult(option) is { Implicit: false })
                    .Select(option => $"{option.Name[1..]}-{parsed.GetResult(option)!.Tokens[0].Value}"));
                Show(options, folder, Corpus.SourceOf(parsed.GetValue(data)), ran, parsed.GetValue(seeds), chosen, which, other);
                foreach (RunFailure failure in ran?.Failures ?? [])
                    Console.Error.WriteLine(failure);
                return ran is { Failures.Count: > 0 } ? 1 : 0;
            }
            catch (Exception e) when (e is NoTextException or FedIcuException or IOException or InvalidDataException
                or UnauthorizedAccessException or DllNotFoundException)
            {
                Console.Error.WriteLine(e.Message);
                return 1;
            }
            catch (OperationCanceledException)
            {
                Console.Error.WriteLine($"Stopped; the same command continues from {folder}.");
                return 130;
            }
        }, CancellationToken.None));
        // leaves time to finish a step or a measurement before the process ends
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

    private static void DrawRankErrors(string adapters, string folder)
    {
        IReadOnlyList<RankErrors> errors = RankErrors.Measure(adapters);
        foreach (RankErrors panel in errors)
            Console.WriteLine(panel.Table());
        string path = Path.Combine(Directory.CreateDirectory(folder).FullName, "rank-errors.svg");
        RankErrorPlot.Save(errors, path);
        Console.WriteLine($"Written to {path}.");
    }

    /// <summary>Runs everything that has no results yet.</summary>
    private static Ran Execute(
        ExperimentOptions options, string folder, string? data, int seeds, Method[] methods, Scenario[] scenarios,
        CancellationToken cancellationToken)
    {
        WeakVersions.LoadLibtorch();
        Corpus corpus = Corpus.Read(data, texts => File.Exists(BaseOf(texts, 1)) ? PretrainedBase.EncodingOf(BaseOf(texts, 1)) : null);
        Directory.CreateDirectory(folder);
        using var results = new ResultFile(ResultsIn(folder), adds: true);
        (Scenario Scenario, Method Method)[] runs =
        [
            .. from scenario in scenarios
               from method in methods
               where scenario.UnequalSizes || !method.Uniform
               select (scenario, method),
        ];
        int vectorBits = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
        // part of the key of saved results, so it must not change
        string machine =
            $"{RuntimeInformation.ProcessArchitecture}, vectors of {vectorBits} bits, {Environment.ProcessorCount} threads";
        var ran = new Dictionary<int, (string, string)>();
        var failures = new List<RunFailure>();
        Progress bars = AnsiConsole.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn());
        bars.Start(progress =>
        {
            ProgressTask all = progress.AddTask($"{runs.Length} runs, {seeds} seeds", maxValue: runs.Length * seeds * (options.Rounds + 1));
            // one seed after the other, so that the complete seeds of a stopped run can be compared
            for (int seed = 1; seed <= seeds; seed++)
            {
                string path = BaseOf(corpus.Texts, seed);
                Transformer model = File.Exists(path)
                    ? new Transformer(Transformer.ReadAll(path))
                    : PretrainedBase.Train(corpus, options.Pretraining, seed, path, progress, cancellationToken);
                string weights = Corpus.Short(SHA256.HashData(File.ReadAllBytes(path)));
                ran[seed] = (weights, machine);
                foreach (Scenario scenario in scenarios)
                {
                    using var first = new FirstRound();
                    foreach ((_, Method method) in runs.Where(run => run.Scenario == scenario))
                    {
                        all.Description = $"seed {seed}, {scenario.Name}, {method.Name}";
                        var key = new RunKey(
                            options.Name, corpus.Source, corpus.Texts, weights, machine, scenario.Name, method.Name, method.Definition,
                            seed);
                        using var run = new Run(key, method, scenario, corpus, model, options, first, results, folder, cancellationToken);
                        if (run.Execute(() => all.Increment(1)) is { } failure)
                            failures.Add(failure);
                    }
                }
            }
        });

        return new Ran(corpus.Texts, ran, failures);

        string BaseOf(string texts, int seed) =>
            Path.Combine(folder, $"base-{Corpus.SourceOf(data)}-{texts}-{options.Pretraining}-{seed}.safetensors");
    }

    private static string ResultsIn(string folder) => Path.Combine(folder, "results.jsonl");

    /// <summary>
    /// Writes a table and plots for each scenario. Results of fewer seeds than were run get separate files.
    /// </summary>
    private static void Show(
        ExperimentOptions options, string folder, string source, Ran? ran, int? seeds, Method[] methods, Scenario[] scenarios, string other)
    {
        if (!File.Exists(ResultsIn(folder)))
            throw new NoTextException($"There is no '{ResultsIn(folder)}'.");
        using var results = new ResultFile(ResultsIn(folder), adds: false);
        List<RoundResult> rows = [.. results.Rows.Where(row => row.Run.Options == options.Name && row.Run.Corpus == source)];
        List<string> written = [], nothing = [];
        foreach (Scenario scenario in scenarios)
        {
            // with --show no texts are read, and the texts of the last result count
            string texts = ran?.Texts ?? rows.LastOrDefault()?.Run.Texts ?? "";
            RunFailure[] failures = [.. ran?.Failures.Where(failure => failure.Scenario == scenario) ?? []];
            // a method that diverged has results that say so
            Method[] ended = [.. methods.Except(failures.Where(failure => !failure.Diverged).Select(failure => failure.Method))];
            var summary = new Summary(rows, options, source, texts, ran?.Seeds, scenario, ended, seeds ?? int.MaxValue);
            if (summary.Methods.Count == 0)
            {
                nothing.Add(scenario.Name);
                continue;
            }

            string shownSeeds = summary.LeftOut.Count > 0 ? $"-{string.Join('-', summary.Seeds)}" : "";
            string name = $"{source}-{scenario.Name}{other}{shownSeeds}";
            string table = summary.Table() + string.Concat(failures.Select(failure => $"\n{failure}\n"));
            Console.WriteLine(table);
            if (seeds is null && summary.LeftOut.Count > 0)
                Console.WriteLine($"Seeds {string.Join(", ", summary.LeftOut)} have results of only some of these methods.");
            string tables = $"{table}\n{summary.ByDomain()}\n{summary.BySeed()}{summary.Statistics()}";
            File.WriteAllText(Path.Combine(folder, $"{name}.md"), tables);
            Plots.Save(summary, Path.Combine(folder, name));
            written.Add(name);
        }

        if (written.Count == 0)
        {
            throw new NoTextException(
                $"'{ResultsIn(folder)}' has no seed of {source} with results of all these methods after {options.Rounds} rounds of " +
                $"{string.Join(", ", scenarios.Select(scenario => scenario.Name))}, with {options.Name}.");
        }

        if (nothing.Count > 0)
            Console.WriteLine($"There are no results of {string.Join(", ", nothing)}.");
        Console.WriteLine($"Written to {folder}: {string.Join(", ", written.Select(name => $"{name}.md"))}, plots.");
    }
}
