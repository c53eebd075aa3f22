using System.CommandLine;
using System.CommandLine.Parsing;

namespace FedICU.Cli;

/// <summary>
/// The options that describe a round without its strategy: models, weights, policies and how it is computed.
/// </summary>
internal sealed class RoundInputLine
{
    private readonly Option<string> _global = Flags.Global();
    private readonly Option<string[]> _clients = Flags.Clients();
    private readonly Option<string?> _manyClients = Flags.ManyClients();
    private readonly Option<string?> _weights = Flags.Weights();
    private readonly Option<string?> _round = Flags.Round(
        "The round's number, stored in the output's metadata. The report notes updates that state another number. Default: none.");
    private readonly Option<string?> _backend = Flags.Backend();
    private readonly Option<string?> _threads = Flags.Threads();
    private readonly Option<string[]> _settings = Flags.Settings(ListSettings());
    private readonly Option<string[]> _plugins = Flags.Plugins();
    private readonly Option<string?> _kind = Flags.Optional(
        "--kind", "KIND",
        "The kind of the clients' updates: full, delta (the difference to the global model) or sparse. " +
        "Default: the kind in each file's metadata, else full. A kind in a file of --clients takes precedence.");

    private IReadOnlyList<Option> Options =>
        [_global, _clients, _manyClients, _weights, _kind, _round, _settings, _plugins, _backend, _threads];

    public void AddTo(Command command)
    {
        foreach (Option option in Options)
            command.Add(option);
    }

    /// <summary>Reads the values whose errors are usage errors, and keeps the others as text.</summary>
    public RoundInputs Read(ParseResult line)
    {
        string[] typed = line.GetValue(_clients) ?? [];
        string? listed = line.GetValue(_manyClients);
        string command = line.CommandResult.Command.Name;
        if (typed.Length == 0 && listed is null)
            throw new UsageException($"'--client' or '--clients' is required by 'fedicu {command}'; see 'fedicu {command} --help'.");
        UpdateKind? kind = Flags.ReadKind(line.GetValue(_kind));
        string? backendName = Flags.ReadBackendName(line.GetValue(_backend));
        return new RoundInputs(line.GetRequiredValue(_global), typed, listed, kind, Plugins.Load(line.GetValue(_plugins)))
        {
            Weights = line.GetValue(_weights),
            BackendName = backendName,
            Threads = line.GetValue(_threads),
            Round = line.GetValue(_round),
            Settings = line.GetValue(_settings) ?? [],
        };
    }

    /// <summary>Returns the options as words for another command line of this tool.</summary>
    public List<string> Repeat(ParseResult line) => Repeat(line, Options);

    /// <summary>Returns those options that change the result but name no model.</summary>
    public List<string> RepeatSettings(ParseResult line) => Repeat(line, [_weights, _kind, _round, _settings, _plugins, _backend]);

    /// <summary>
    /// Finds the files and folders that settings and plug-ins name, each with the words that an error message uses.
    /// </summary>
    public IEnumerable<(string What, string? Path)> FindPaths(ParseResult line) =>
        FindPaths(Flags.ReadSettings(line.GetValue(_settings)))
            .Concat((line.GetValue(_plugins) ?? []).Select(path => ("the plug-in", (string?)path)));

    /// <summary>
    /// Finds the files and folders that settings name, each with the words that an error message uses for it.
    /// </summary>
    public static IEnumerable<(string What, string? Path)> FindPaths(IEnumerable<KeyValuePair<string, string>> settings) =>
        settings.Where(setting => Path.Exists(setting.Value))
            .Select(setting => ($"the file or folder of the option '{setting.Key}'", (string?)setting.Value));

    private static List<string> Repeat(ParseResult line, IReadOnlyList<Option> options)
    {
        var words = new List<string>();
        foreach (Option option in options)
        {
            foreach (Token token in line.GetResult(option)?.Tokens ?? [])
                words.AddRange(Words(option.Name, token.Value));
        }

        return words;
    }

    // in one word, because a value may begin like an option; the parser takes an empty value only as a word of its own
    private static string[] Words(string option, string value) => value.Length > 0 ? [$"{option}={value}"] : [option, value];

    /// <summary>Lists the names of the library's options, those of each strategy first.</summary>
    private static string ListSettings()
    {
        IEnumerable<string> own = StrategyRegistry.Default.Strategies.Where(strategy => strategy.Options.Count > 0)
            .Select(strategy => $"{Join(strategy.Options)} ({strategy.Name})");
        return $"{string.Join("; ", own)}; {Join(StrategyRegistry.RoundOptions)} (every strategy). " +
            "An option that several of the strategies have is STRATEGY.NAME";

        static string Join(IEnumerable<OptionDescription> options) => string.Join(", ", options.Select(option => option.Name));
    }
}
