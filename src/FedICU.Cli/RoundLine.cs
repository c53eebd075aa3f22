using System.CommandLine;
using FedICU.Compute;

namespace FedICU.Cli;

/// <summary>The options that describe a round, which <c>aggregate</c> and <c>explain</c> share.</summary>
internal sealed class RoundLine(bool strategyRequired)
{
    private readonly Option<string?> _strategy = new("--strategy")
    {
        HelpName = "NAME[,NAME...]",
        Description = "One strategy, or several joined by commas in the order of their stages, such as krum,fedadam; 'fedicu strategies' " +
            $"describes them: {string.Join(", ", StrategyRegistry.Default.Names)}{(strategyRequired ? "." : ". Default: fedicu.")}",
        Required = strategyRequired,
    };

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

    public void AddTo(Command command)
    {
        ReadOnlySpan<Option> options =
            [_strategy, _global, _clients, _manyClients, _weights, _kind, _round, _settings, _plugins, _backend, _threads];
        foreach (Option option in options)
            command.Add(option);
    }

    /// <summary>
    /// Reads the values whose errors are usage errors, then the others. Opens no model.
    /// </summary>
    public RoundPlan Read(ParseResult line, RoundOptions options, Terminal terminal)
    {
        string[] typed = line.GetValue(_clients) ?? [];
        string? listed = line.GetValue(_manyClients);
        string command = line.CommandResult.Command.Name;
        if (typed.Length == 0 && listed is null)
            throw new UsageException($"'--client' or '--clients' is required by 'fedicu {command}'; see 'fedicu {command} --help'.");
        UpdateKind? kind = Flags.ReadKind(line.GetValue(_kind));
        string? backendName = Flags.ReadBackendName(line.GetValue(_backend));
        Plugins plugins = Plugins.Load(line.GetValue(_plugins));
        string strategy = Flags.ReadStrategy(line.GetValue(_strategy) ?? "fedicu", plugins.Registry);

        string global = line.GetRequiredValue(_global);
        var clients = new ClientList(typed, listed, global);
        options = options with
        {
            Backend = Flags.ReadBackend(backendName, terminal, clients.UpdatePaths),
            Threads = Flags.ReadThreads(line.GetValue(_threads)),
            Round = Flags.ReadRound(line.GetValue(_round)),
        };
        List<KeyValuePair<string, string>> settings = Flags.ReadSettings(line.GetValue(_settings));
        ConfiguredRound round = plugins.Guard(strategy, () => plugins.Registry.Create(strategy, settings, options));
        if (line.GetValue(_weights) is { } weights)
            clients.TakeWeights(weights, round.Options.MaxWeight);
        return new RoundPlan(round, global, clients, kind, strategy, plugins);
    }

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
