using FedICU;

namespace OwnStrategy.Tests;

internal sealed class CauchyTests
{
    private static readonly StageAggregator Rule = new(new Cauchy(2));

    /// <summary>Norms 1, 1 and 6: the scale is 2, the factors are 0.8, 0.8 and 0.1.</summary>
    [Test]
    public void ALongUpdateCountsLess()
    {
        (double[] result, RoundReport report) = Rounds.Run(Rule, [0, 0], [[1, 0], [0, 1], [0, 6]]);
        Assert.That(result[0], Is.EqualTo(0.8 / 1.7).Within(1e-15));
        Assert.That(result[1], Is.EqualTo((0.8 + 0.6) / 1.7).Within(1e-15));
        Assert.That(report.Stages.Single().Values, Is.EqualTo(new[] { 0.8, 0.8, 0.1 }).Within(1e-15));
    }

    [Test]
    public void NumbersOfExamplesCount() =>
        Assert.That(Rounds.Run(Rule, [0], [[1], [-1]], weights: [3, 1]).Result, Is.EqualTo(new[] { 0.5 }).Within(1e-15));

    [Test]
    public void ClientsThatChangedNothingKeepTheirWeights() =>
        Assert.That(Rounds.Run(Rule, [1], [[1], [1], [4]]).Result, Is.EqualTo(new[] { 2.0 }));

    [Test]
    public void AWrongOptionIsRefused([Values(0, -1, double.NaN)] double c) =>
        Assert.That(() => new Cauchy(c), Throws.TypeOf<InvalidOptionsException>().With.Message.StartsWith("c is "));
}
