using FedICU.Files;
using FedICU.Model;
using FedICU.Rounds;

namespace FedICU.Tests;

/// <summary>Every rule aggregates a session: those that compare whole models, and those that keep a state.</summary>
internal sealed class SessionRuleTests : SessionFixture
{
    private static readonly ClientUpdate[] Clients = [.. Enumerable.Range(2, 6).Select(seed => Client($"c{seed}", seed))];

    [Test]
    public async Task ARuleOverASessionGivesTheBitsOfTheBatch(
        [Values("median", "krum", "fedadam", "krum,fedadam", "median,fedadam")] string rule)
    {
        StageAggregator aggregator = StrategyRegistry.Default.Create(rule, []).Aggregator;
        using RoundState? kept = CreateState(aggregator), expected = CreateState(aggregator);
        using var before = new MemorySink();
        // two rounds, so that the second one reads the state of the first
        for (int i = 1; i <= 2; i++)
        {
            using (AggregationSession session = AggregationSession.Create(Place, Global))
            {
                foreach (ClientUpdate client in Clients.Reverse())
                    await session.AddAsync(client);
            }

            using AggregationSession again = AggregationSession.Open(Place, Global);
            var batch = new AggregationRound(Global) { State = expected };
            foreach (ClientUpdate client in Clients)
                batch.Add(client);
            AggregationRound round = again.ToRound();
            round.State = kept;
            Assert.That(Bits(aggregator, round), Is.EqualTo(Bits(aggregator, batch)), $"round {i}");
            if (kept is not null)
                Assert.That(kept.RoundsFinished, Is.EqualTo(i));
            again.Delete();
        }
    }

    [Test]
    public async Task WhatAClientStatesSurvivesARestart()
    {
        var stated = new ClientStatements { LocalSteps = 12, Loss = 0.25, Staleness = 1, Normalizer = 3.5 };
        ClientStatements[] all = [stated, new() { Loss = double.NaN }, new() { LocalSteps = 7 }, new()];
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            for (int k = 0; k < all.Length; k++)
                await session.AddAsync(ClientUpdate.FromTensors($"c{k}", CreateModel(), 1, statements: all[k]));
            Assert.That(session.Updates.Select(update => update.Statements), Is.EqualTo(all), "the copies");
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(again.Updates.Select(update => update.Statements), Is.EqualTo(all), "after a restart");
        // what the caller does not state is in the file's metadata
        using var participant = new Participant(again.Updates[2], new TensorNames([]));
        participant.Open(Global, new RoundFiles(), CancellationToken.None);
        Assert.That(participant.ReadStatements(null), Is.EqualTo(new ClientStatements { LocalSteps = 7, Loss = 0.5 }));
    }

    private static RoundState? CreateState(StageAggregator aggregator) => aggregator.KeepsState ? RoundState.InMemory() : null;

    private static MemoryModel CreateModel() => Models.Random(
        2, metadata: new Dictionary<string, string> { ["loss"] = "0.5", ["local_steps"] = "4" });
}
