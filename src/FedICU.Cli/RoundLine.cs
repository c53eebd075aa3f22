using System.CommandLine;

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

    private readonly RoundInputLine _inputs = new();

    public void AddTo(Command command)
    {
        command.Add(_strategy);
        _inputs.AddTo(command);
    }

    /// <summary>
    /// Reads the values whose errors are usage errors, then the others. Opens no model.
    /// </summary>
    public RoundPlan Read(ParseResult line, RoundOptions options, Terminal terminal)
    {
        RoundInputs inputs = _inputs.Read(line);
        string strategy = Flags.ReadStrategy(line.GetValue(_strategy) ?? "fedicu", inputs.Plugins.Registry);
        ClientList clients = inputs.ReadClients();
        options = inputs.ReadOptions(options with { Backend = Flags.ReadBackend(inputs.BackendName, terminal, clients.UpdatePaths) });
        ConfiguredRound round = inputs.Configure(strategy, options);
        inputs.WeighClients(clients, round.Options.MaxWeight);
        return new RoundPlan(round, inputs.Global, clients, inputs.Kind, strategy, inputs.Plugins);
    }
}
