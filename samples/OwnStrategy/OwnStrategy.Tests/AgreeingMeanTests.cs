using FedICU;

namespace OwnStrategy.Tests;

internal sealed class AgreeingMeanTests
{
    [Test]
    public void OnlyUpdatesThatAgreeCount()
    {
        var rule = new StageAggregator(new AgreeingMean(0));
        double[] result = Rounds.Run(rule, [10, 10, 10], [[11, 10, 5], [13, 10, 11], [9, 10, 12]]).Result;
        // up by the mean of 1 and 3; all stay; down by 5, which outweighs 1 and 2
        Assert.That(result, Is.EqualTo(new double[] { 12, 10, 5 }));
    }

    [Test]
    public void WhereTooFewAgreeTheElementStays()
    {
        var rule = new StageAggregator(new AgreeingMean(0.5));
        Assert.That(Rounds.Run(rule, [10, 10], [[11, 5], [13, 11], [9, 12]]).Result, Is.EqualTo(new double[] { 12, 10 }));
    }

    [Test]
    public void WeightsOfAStageBeforeItCount()
    {
        // the long update has a tenth of the others' weight, and so is outvoted
        var rule = new StageAggregator(new Cauchy(2), new AgreeingMean(0));
        Assert.That(Rounds.Run(rule, [0], [[1], [1], [-6]]).Result, Is.EqualTo(new double[] { 1 }));
    }

    [Test]
    public void AClientWithNaNIsRefused() => Assert.That(
        () => Rounds.Run(new StageAggregator(new AgreeingMean(0)), [0], [[1], [double.NaN]]),
        Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'c1'"));

    [Test]
    public void AWrongOptionIsRefused([Values(-0.1, 1, double.NaN)] double agreement) =>
        Assert.That(() => new AgreeingMean(agreement), Throws.TypeOf<InvalidOptionsException>().With.Message.StartsWith("agreement is "));
}
