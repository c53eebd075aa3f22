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
        "The kind of all clients' updates: full, delta (the difference to the global model) or sparse. " +
        "Default: the kind in each file's metadata, else full.");

    public void AddTo(Command command)
    {
        ReadOnlySpan<Option> options = [_strategy, _global, _clients, _weights, _kind, _round, _settings, _backend, _threads];
        foreach (Option option in options)
            command.Add(option);
    }

    /// <summary>
    /// Reads the strategy and the backend, whose errors are usage errors, then the other values. Opens no file.
    /// </summary>
    public RoundPlan Read(ParseResult line, RoundOptions options, Terminal terminal)
    {
        string[] clients = line.GetRequiredValue(_clients);
        string strategy = Flags.ReadStrategy(line.GetValue(_strategy), "fedicu");
        IComputeBackend backend = Flags.ReadBackend(line.GetValue(_backend), terminal, clients.Select(ClientList.PathOf));
        options = options with
        {
            Backend = backend,
            Threads = Flags.ReadThreads(line.GetValue(_threads)),
            Round = Flags.ReadRound(line.GetValue(_round)),
        };
        ConfiguredRound round = StrategyRegistry.Default.Create(strategy, Flags.ReadSettings(line.GetValue(_settings)), options);
        UpdateKind? kind = Flags.ReadKind(line.GetValue(_kind));
        return new RoundPlan(
            round, line.GetRequiredValue(_global), new ClientList(clients, line.GetValue(_weights), kind, round.Options.MaxWeight));
    }
}
