using System.CommandLine;
using FedICU.Compute;

namespace FedICU.Cli;

/// <summary>The options that name a round: <c>aggregate</c> and <c>explain</c> share them.</summary>
internal sealed class RoundLine(bool strategyRequired)
{
    private readonly Option<string?> _strategy = new("--strategy")
    {
        HelpName = "NAME",
        Description = string.Join(", ", AggregatorCatalog.Names) + (strategyRequired ? "." : ". Default: fedicu."),
        Required = strategyRequired,
    };

    private readonly Option<string> _global = Flags.Global();
    private readonly Option<string[]> _clients = Flags.Clients();
    private readonly Option<string?> _weights = Flags.Weights();
    private readonly Option<string?> _round = Flags.Round("The number of the round, kept in the output's metadata; an update that states another is noted. Default: none.");
    private readonly Option<string?> _backend = Flags.Backend();
    private readonly Option<string?> _threads = Flags.Threads();
    private readonly Option<string[]> _settings = Flags.Settings(
        "preset, tau, eps, axis, similarity, granularity, weights, times-share, consensus, target, coherence (fedicu), mu (fedprox), balance, integers, quorum, on-nonfinite, " +
        "on-missing, on-extra, on-shape, on-dtype, on-base, on-unreadable, on-weight, max-weight, on-config, on-quantized, on-changed, on-stale, strip-prefix " +
        "(every strategy)");
    private readonly Option<string?> _kind = Flags.Optional(
        "--kind", "KIND", "What all clients' tensors are: full, delta (the difference to the global model) or sparse. Default: what each file's metadata state, else full.");

    public void AddTo(Command command)
    {
        foreach (Option option in (ReadOnlySpan<Option>)[_strategy, _global, _clients, _weights, _kind, _round, _settings, _backend, _threads])
            command.Add(option);
    }

    /// <summary>Reads the values that must be known for the line to be understood, then those that can be refused; opens no file.</summary>
    public RoundPlan Read(ParseResult line, RoundOptions options, Terminal terminal)
    {
        string strategy = Flags.ReadStrategy(line.GetValue(_strategy), "fedicu");
        IComputeBackend backend = Flags.ReadBackend(line.GetValue(_backend), terminal, line.GetRequiredValue(_clients).Select(ClientList.PathOf));
        options = options with { Backend = backend, Threads = Flags.ReadThreads(line.GetValue(_threads)), Round = Flags.ReadRound(line.GetValue(_round)) };
        ConfiguredRound round = AggregatorCatalog.Create(strategy, Flags.ReadSettings(line.GetValue(_settings)), options);
        return new RoundPlan(round, line.GetRequiredValue(_global), new ClientList(line.GetRequiredValue(_clients), line.GetValue(_weights), Flags.ReadKind(line.GetValue(_kind))));
    }
}

/// <summary>A round as its line describes it.</summary>
internal sealed record RoundPlan(ConfiguredRound Configured, string Global, ClientList Clients)
{
    /// <summary>Runs the round, with a bar where a person watches.</summary>
    public Task<AggregationResult> RunAsync(TensorSource global, TensorSink output, Terminal terminal, CancellationToken cancellationToken) =>
        terminal.WithProgressAsync(progress =>
        {
            var round = new AggregationRound(global) { Options = Configured.Options with { Progress = progress } };
            Clients.AddTo(round);
            return Configured.Aggregator.AggregateAsync(round, output, cancellationToken);
        });
}
