using FedICU;

namespace OwnStrategy.Tests;

internal sealed class HeavyBallTests
{
    /// <summary>The updates are 2 and 2: m is 2, then 0.5 * 2 + 2 = 3; x moves by 0.1 m.</summary>
    [Test]
    public void TheMomentumGrowsFromRoundToRound()
    {
        var rule = new StageAggregator(new HeavyBall(0.1, 0.5));
        using RoundState state = RoundState.InMemory();
        double[] first = Rounds.Run(rule, [1], [[2], [4]], state).Result;
        Assert.That(first[0], Is.EqualTo(1.2).Within(1e-6));
        double[] second = Rounds.Run(rule, first, [[first[0] + 1], [first[0] + 3]], state).Result;
        Assert.That(second[0], Is.EqualTo(1.5).Within(1e-6));
        Assert.That(state.RoundsFinished, Is.EqualTo(2));
    }

    [Test]
    public void WithoutMomentumItIsTheMean() =>
        Assert.That(Rounds.Run(new StageAggregator(new HeavyBall(1, 0)), [1], [[2], [4]]).Result, Is.EqualTo(new[] { 3.0 }).Within(1e-15));

    [Test]
    public void AllWrongOptionsAreNamed() => Assert.That(
        () => new HeavyBall(0, 1),
        Throws.TypeOf<InvalidOptionsException>().With.Message.EqualTo(
            "lr is 0; a finite number above 0 was expected. beta is 1; a number of at least 0 and below 1 was expected."));
}
