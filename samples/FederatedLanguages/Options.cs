using System.Globalization;

namespace FederatedLanguages;

/// <summary>The options of the command line.</summary>
internal sealed record Options
{
    private const string Pretraining = "pretrain";

    private static readonly string[] Switches = ["--compare", "--quick", "--help"];
    private static readonly string[] Valued = ["--aggregator", "--rounds", "--steps", "--seed", "--clients", "--data", "--out"];
    private static readonly string[] OfPretraining = ["--seed", "--data", "--out", "--quick", "--help"];

    public static string HelpText =>
        $"""
        Four clients with private texts in four languages adapt one small English language model together.

        dotnet run -c Release --project samples/FederatedLanguages -- [options]
        dotnet run -c Release --project samples/FederatedLanguages -- pretrain [options]

          --aggregator NAME  {string.Join(", ", Federation.Strategies)}. Default: fedicu.
          --compare          Runs all aggregators.
          --rounds N         Rounds of the federation. Default: 40; with --quick 2.
          --steps N          Training steps of each client in a round. Default: 100; with --quick 40.
          --seed N           The same seed gives the same table. Default: 1.
          --clients LIST     Languages of the SDK's messages (cs de es fr it ja ko pl pt-BR ru tr zh-Hans zh-Hant), or domains of --data.
                             Default: de,fr,ru,ja, or all domains.
          --data DIR         Your own texts: a .txt file for each domain, or a folder with train.txt and test.txt (or .txt.gz).
                             A domain named en, base or general belongs to no client: it is the base model's own domain.
          --out DIR          The output folder. Default: artifacts/federated-languages, or for pretrain the sample's own folder.
          --quick            A small run of a few seconds.
          --help             Shows this text.

        pretrain trains the base model (base.safetensors) again on the English documentation in the SDK's reference packs.
        It takes --seed, --data, --out and --quick.
        """;

    public bool Help { get; init; }

    public bool Pretrain { get; init; }

    public bool Quick { get; init; }

    public required IReadOnlyList<string> Aggregators { get; init; }

    public int Rounds { get; init; }

    public int Steps { get; init; }

    public int Seed { get; init; }

    /// <summary>The clients' languages or domains; null for the default ones.</summary>
    public IReadOnlyList<string>? Clients { get; init; }

    /// <summary>The folder of texts; null for the SDK's texts.</summary>
    public string? Data { get; init; }

    /// <summary>The output folder; null for the default one.</summary>
    public string? Out { get; init; }

    /// <summary>Parses a command line.</summary>
    /// <exception cref="UsageException">The command line cannot be understood.</exception>
    public static Options Parse(string[] args)
    {
        bool pretrain = args is [Pretraining, ..];
        Dictionary<string, string> given = Read(pretrain ? args[1..] : args);
        if (pretrain && given.Keys.Except(OfPretraining).FirstOrDefault() is { } foreign)
            throw new UsageException($"'{foreign}' has no meaning for {Pretraining}, which takes {string.Join(", ", OfPretraining)}.");
        bool quick = given.ContainsKey("--quick"), compare = given.ContainsKey("--compare");
        string aggregator = given.GetValueOrDefault("--aggregator", "fedicu");
        if (!Federation.Strategies.Contains(aggregator))
            throw new UsageException($"The aggregator '{aggregator}' is unknown; {string.Join(", ", Federation.Strategies)} are known.");
        if (compare && given.ContainsKey("--aggregator"))
        {
            throw new UsageException(
                $"'--compare' runs all aggregators and '--aggregator {aggregator}' only one; give one of the two options.");
        }

        return new Options
        {
            Help = given.ContainsKey("--help"),
            Pretrain = pretrain,
            Quick = quick,
            Aggregators = compare ? Federation.Strategies : [aggregator],
            Rounds = Number("--rounds", 1, 999, quick ? 2 : 40),
            Steps = Number("--steps", 1, 1_000_000, quick ? 40 : 100),
            Seed = Number("--seed", 0, int.MaxValue, 1),
            Clients = given.TryGetValue("--clients", out string? list) ? Names(list) : null,
            Data = given.GetValueOrDefault("--data"),
            Out = given.GetValueOrDefault("--out"),
        };

        int Number(string name, int least, int most, int otherwise)
        {
            if (!given.TryGetValue(name, out string? text))
                return otherwise;
            return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= least && value <= most
                ? value
                : throw new UsageException($"'{name} {text}': a whole number from {least} to {most} was expected.");
        }
    }

    private static Dictionary<string, string> Read(string[] args)
    {
        var given = new Dictionary<string, string>();
        for (int i = 0; i < args.Length; i++)
        {
            (string name, string? value) =
                args[i].Split('=', 2) is [['-', '-', ..] before, var after] ? (before, after) : (args[i], null);
            if (name is "-h" or "-?")
                name = "--help";
            if (Valued.Contains(name))
                value ??= i + 1 < args.Length && !args[i + 1].StartsWith("--", StringComparison.Ordinal) ? args[++i] : null;
            else if (!Switches.Contains(name) || value is not null)
                throw new UsageException($"The option '{args[i]}' is unknown; --help lists the options.");
            if (Valued.Contains(name) && string.IsNullOrWhiteSpace(value))
                throw new UsageException($"'{name}' needs a value.");
            if (!given.TryAdd(name, value ?? ""))
                throw new UsageException($"'{name}' was given twice.");
        }

        return given;
    }

    private static string[] Names(string list)
    {
        string[] names = list.Split(',', StringSplitOptions.TrimEntries);
        if (names.Contains(""))
            throw new UsageException($"'--clients {list}': names separated by commas were expected, for example de,fr,ru,ja.");
        return names.GroupBy(name => name).FirstOrDefault(group => group.Count() > 1) is { } duplicate
            ? throw new UsageException($"'--clients {list}': '{duplicate.Key}' was given twice.")
            : names;
    }
}
