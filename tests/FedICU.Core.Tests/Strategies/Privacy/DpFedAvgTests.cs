namespace FedICU.Tests;

/// <summary>What a private round notes and reports, and which of its numbers are refused.</summary>
internal sealed class DpFedAvgTests
{
    private static readonly DpFedAvgOptions Options = new() { ClipNorm = 1, NoiseMultiplier = 1, Seed = 3 };

    [Test]
    public void ASeedWithoutAStateIsNoted()
    {
        const string Repeats = "dp-fedavg has a fixed seed and no state: every round repeats the same noise.";
        Assert.That(Run(Options).Notes, Has.Some.StartsWith(Repeats));
        using RoundState state = RoundState.InMemory();
        Assert.That(Run(Options, state).Notes, Has.None.StartsWith(Repeats));
        Assert.That(Run(Options with { Seed = null }).Notes, Has.None.StartsWith(Repeats));
        Assert.That(Run(Options with { NoiseMultiplier = 0 }).Notes, Has.None.StartsWith(Repeats));
    }

    [Test]
    public void TheReportForAPersonSaysNothingOfAClient()
    {
        RoundReport report = Run(Options);
        Assert.That(report.IsPrivate, Is.True);
        Assert.That(report.ToString(), Does.StartWith("dp-fedavg: 2 of 2 clients, 1 tensor")
            .And.Not.Contain("hospital").And.Not.Contain("byte").And.Not.Contain("%"));
        Assert.That(RoundReport.FromJson(report.ToJson()).IsPrivate, Is.True);
    }

    [Test]
    public void AReasonStatesNoWeight()
    {
        using var global = Models.Of("w", [2], 1, 1);
        var round = new AggregationRound(global, new RoundOptions { MaxWeight = 100, OnWeight = FaultPolicy.DropClient, Quorum = 1 })
        {
            ClientUpdate.FromTensors("a", Models.Of("w", [2], 3, 5), 50), ClientUpdate.FromTensors("b", Models.Of("w", [2], 5, 5), 5000),
        };
        RoundReport report = new DpFedAvgAggregator(Options).AggregateAsync(round, TensorSink.Discard).GetAwaiter().GetResult().Report;
        Assert.That(
            report.Clients[1].Reason, Is.EqualTo("Client 'b' has another weight; at most 100 (max-weight) was expected."));
    }

    [Test]
    public void NumbersThatOverflowAreRefused()
    {
        Assert.That(
            () => Run(Options with { ClipNorm = 1e308, NoiseMultiplier = 1e10 }),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                "'dp-fedavg': the standard deviation of its noise is Infinity; a finite number was expected."));
        Assert.That(
            () => Run(Options with { AdaptiveClip = true, NoiseMultiplier = 0, ClipLearningRate = 1e308 }),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("'dp-fedavg': the next round's norm is "));
    }

    private static RoundReport Run(DpFedAvgOptions options, RoundState? state = null)
    {
        using var global = Models.Of("w", [2], 1, 1);
        var round = new AggregationRound(global) { State = state };
        round.Add(ClientUpdate.FromTensors("hospital-a", Models.Of("w", [2], 3, 5)));
        round.Add(ClientUpdate.FromTensors("hospital-b", Models.Of("w", [2], 5, 5)));
        return new DpFedAvgAggregator(options).AggregateAsync(round, TensorSink.Discard).GetAwaiter().GetResult().Report;
    }
}
