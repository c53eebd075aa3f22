namespace FedICU.Cli;

/// <summary>A round as its command line describes it.</summary>
internal sealed record RoundPlan(
    ConfiguredRound Configured, string Global, ClientList Clients, UpdateKind? Kind, string Strategy, Plugins Plugins)
{
    /// <summary>Runs the round. Shows a progress bar if the error stream is a terminal.</summary>
    public Task<AggregationResult> RunAsync(
        TensorSource global, TensorSink output, RoundState? state, Terminal terminal, CancellationToken cancellationToken) =>
        RunAsync(global, state, terminal, round => Configured.Aggregator.AggregateAsync(round, output, cancellationToken));

    /// <summary>Checks the round and writes nothing.</summary>
    /// <param name="global">The global model.</param>
    /// <param name="output">The round's output; null if it is not known.</param>
    /// <param name="state">The state; null if there is none.</param>
    /// <param name="terminal">Shows the progress.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    public Task<AggregationResult> CheckAsync(
        TensorSource global, TensorSink? output, RoundState? state, Terminal terminal, CancellationToken cancellationToken) =>
        RunAsync(global, state, terminal, round => Configured.Aggregator.CheckAsync(round, output, cancellationToken));

    private Task<AggregationResult> RunAsync(
        TensorSource global, RoundState? state, Terminal terminal, Func<AggregationRound, Task<AggregationResult>> run) =>
        terminal.WithProgressAsync(progress =>
        {
            var round = new AggregationRound(global) { Options = Configured.Options with { Progress = progress }, State = state };
            Clients.AddTo(round, Kind);
            return Plugins.GuardAsync(Strategy, () => run(round));
        });
}
