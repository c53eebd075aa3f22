using FedICU;

namespace OwnStrategy.Tests;

/// <summary>Rounds of one tensor of float64 in memory.</summary>
internal static class Rounds
{
    public static (double[] Result, RoundReport Report) Run(
        IAggregator aggregator, double[] global, double[][] clients, RoundState? state = null, double[]? weights = null)
    {
        var round = new AggregationRound(Model(global)) { State = state };
        for (int k = 0; k < clients.Length; k++)
            round.Add(ClientUpdate.FromTensors($"c{k}", Model(clients[k]), weights?[k] ?? 1));
        using var sink = new MemorySink();
        RoundReport report = aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult().Report;
        return (sink.Model.ToArray<double>("w"), report);
    }

    private static MemoryModel Model(double[] values) => new() { { "w", [values.Length], values } };
}
