using System.CommandLine;
using FedICU.Compute;

namespace FedICU.Cli;

/// <summary>The options that describe a round, which <c>aggregate</c> and <c>explain</c> share.</summary>
internal sealed class RoundLine(bool strategyRequired)
{
    private readonly Option<string?> _strategy = new("--strategy")
    {
        HelpName = "NAME",
        Description = string.Join(", ", StrategyRegistry.Default.Names) + (strategyRequired ? "." : ". Default: fedicu."),
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
    private readonly Option<string[]> _settings = Flags.Settings(
        "preset, tau, eps, axis, similarity, granularity, weights, times-share, consensus, target, coherence (fedicu), mu (fedprox), " +
        "balance, integers, quorum, on-nonfinite, on-missing, on-extra, on-shape, on-dtype, on-base, on-unreadable, on-weight, " +
        "max-weight, on-config, on-quantized, on-changed, on-stale, strip-prefix (every strategy)");
    private readonly Option<string?> _kind = Flags.Optional(
        "--kind", "KIND",
        "The kind of the clients' updates: full, delta (the difference to the global model) or sparse. " +
        "Default: the kind in each file's metadata, else full. A kind in a file of --clients takes precedence.");

    public void AddTo(Command command)
    {
        ReadOnlySpan<Option> options = [_strategy, _global, _clients, _manyClients, _weights, _kind, _round, _settings, _backend, _threads];
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
        string strategy = Flags.ReadStrategy(line.GetValue(_strategy), "fedicu");
        UpdateKind? kind = Flags.ReadKind(line.GetValue(_kind));
        string? backendName = Flags.ReadBackendName(line.GetValue(_backend));

        string global = line.GetRequiredValue(_global);
        var clients = new ClientList(typed, listed, global);
        options = options with
        {
            Backend = Flags.ReadBackend(backendName, terminal, clients.UpdatePaths),
            Threads = Flags.ReadThreads(line.GetValue(_threads)),
            Round = Flags.ReadRound(line.GetValue(_round)),
        };
        ConfiguredRound round = StrategyRegistry.Default.Create(strategy, Flags.ReadSettings(line.GetValue(_settings)), options);
        if (line.GetValue(_weights) is { } weights)
            clients.TakeWeights(weights, round.Options.MaxWeight);
        return new RoundPlan(round, global, clients, kind);
    }
}
