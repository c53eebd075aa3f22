namespace FedICU.Cli;

/// <summary>A round as its command line describes it.</summary>
internal sealed record RoundPlan(ConfiguredRound Configured, string Global, ClientList Clients, UpdateKind? Kind)
{
    /// <summary>Runs the round. Shows a progress bar if the error stream is a terminal.</summary>
    public Task<AggregationResult> RunAsync(
        TensorSource global, TensorSink output, Terminal terminal, CancellationToken cancellationToken) =>
        terminal.WithProgressAsync(progress =>
        {
            var round = new AggregationRound(global) { Options = Configured.Options with { Progress = progress } };
            Clients.AddTo(round, Kind);
            return Configured.Aggregator.AggregateAsync(round, output, cancellationToken);
        });
}
