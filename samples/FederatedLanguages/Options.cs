using System.Globalization;

namespace FederatedLanguages;

/// <summary>The options of the command line.</summary>
internal sealed record Options
{
    private const string Pretraining = "pretrain";

    private const string Set = "--set";

    // between the strategies of --strategies; commas join the parts of one strategy
    private static readonly char[] Separators = ['|', ' '];

    private static readonly string[] Switches = ["--compare", "--quick", "--help"];

    private static readonly string[] Valued =
    [
        "--aggregator", "--strategies", Set, "--attack", "--attackers", "--clients-per-language",
        "--rounds", "--steps", "--seed", "--clients", "--data", "--out",
    ];
    private static readonly string[] OfPretraining = ["--seed", "--data", "--out", "--quick", "--help"];

    public static string HelpText =>
        $"""
        Four clients with private texts in four languages adapt one small English language model together.

        dotnet run -c Release --project samples/FederatedLanguages -- [options]
        dotnet run -c Release --project samples/FederatedLanguages -- pretrain [options]

          --aggregator NAME  A strategy of docs/strategies.md, several joined by commas (norm-clip,median,fedadam), or balanced:
                             fedicu with preset=balanced. Default: fedicu.
          --strategies LIST  Runs several, each as a column: 'fedavg|median|norm-clip,fedadam'.
          --compare          Runs {string.Join(", ", StrategyChoice.Compared)}.
          --set NAME=VALUE   Sets an option of the strategies that have it, once for each: --set krum.byzantine=2.
          --attack KIND      Some clients attack: {string.Join(", ", Attack.Kinds)}. The table then compares strategies under
                             attack, by default {string.Join(", ", StrategyChoice.UnderAttack)}.
          --attackers N      The first N clients are the attackers. Default: 2.
          --clients-per-language K
                             Splits each text among K clients. Default: 1; with --attack 3.
          --rounds N         Rounds of the federation. Default: 40; with --attack 20; with --quick 2.
          --steps N          Training steps of each client in a round. Default: 100; with --quick 40; with --attack 25.
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

    public required IReadOnlyList<StrategyChoice> Strategies { get; init; }

    /// <summary>The attack of the first clients; null: none.</summary>
    public Attack? Attack { get; init; }

    /// <summary>The number of clients among which the text of a language or domain is split.</summary>
    public int ClientsPerDomain { get; init; }

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
        var settings = new List<KeyValuePair<string, string>>();
        Dictionary<string, string> given = Read(pretrain ? args[1..] : args, settings);
        if (pretrain && given.Keys.Except(OfPretraining).FirstOrDefault() is { } foreign)
            throw new UsageException($"'{foreign}' has no meaning for {Pretraining}, which takes {string.Join(", ", OfPretraining)}.");
        bool quick = given.ContainsKey("--quick"), compare = given.ContainsKey("--compare");
        bool attacks = given.ContainsKey("--attack");
        string[] chosen = [.. given.Keys.Where(name => name is "--aggregator" or "--strategies" or "--compare")];
        if (chosen.Length > 1)
            throw new UsageException($"'{chosen[0]}' and '{chosen[1]}' both choose the strategies; give one of the two options.");
        if (attacks && !Attack.Kinds.Contains(given["--attack"]))
            throw new UsageException($"The attack '{given["--attack"]}' is unknown; {string.Join(", ", Attack.Kinds)} are known.");
        if (!attacks && given.ContainsKey("--attackers"))
            throw new UsageException("'--attackers' needs '--attack', which says what the attackers do.");
        IReadOnlyList<string> names = given.TryGetValue("--strategies", out string? several)
            ? several.Split(Separators, StringSplitOptions.RemoveEmptyEntries)
            : given.TryGetValue("--aggregator", out string? one) ? [one]
            : compare ? StrategyChoice.Compared
            : attacks ? StrategyChoice.UnderAttack : ["fedicu"];
        int seed = Number("--seed", 0, int.MaxValue, 1);

        return new Options
        {
            Help = given.ContainsKey("--help"),
            Pretrain = pretrain,
            Quick = quick,
            Strategies = StrategyChoice.Choose(names, settings, seed),
            Attack = attacks ? new Attack(given["--attack"], Number("--attackers", 1, 999, 2)) : null,
            ClientsPerDomain = Number("--clients-per-language", 1, 99, attacks ? 3 : 1),
            Rounds = Number("--rounds", 1, 999, quick ? 2 : attacks ? 20 : 40),
            Steps = Number("--steps", 1, 1_000_000, attacks ? 25 : quick ? 40 : 100),
            Seed = seed,
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

    /// <summary>Reads the options, and those of the strategies into a list of their own.</summary>
    private static Dictionary<string, string> Read(string[] args, List<KeyValuePair<string, string>> settings)
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
            if (name == Set)
                settings.Add(Setting(value!));
            // --set may be given again
            if (!given.TryAdd(name, value ?? "") && name != Set)
                throw new UsageException($"'{name}' was given twice.");
        }

        return given;
    }

    private static KeyValuePair<string, string> Setting(string text) => text.Split('=', 2) is [{ Length: > 0 } name, var value]
        ? new(name, value)
        : throw new UsageException($"'{Set} {text}': NAME=VALUE was expected.");

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
