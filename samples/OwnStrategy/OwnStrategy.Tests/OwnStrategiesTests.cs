using FedICU;

namespace OwnStrategy.Tests;

internal sealed class OwnStrategiesTests
{
    private StrategyRegistry _registry = null!;

    [SetUp]
    public void Register() => new OwnStrategies().Register(_registry = new StrategyRegistry());

    [Test]
    public void TheyComposeWithEachOtherAndWithTheLibrarys([Values("cauchy,agreeing-mean,heavy-ball", "cauchy,median,fedadam")] string rule)
    {
        ConfiguredRound configured = _registry.Create(rule, [new("c", "3"), new("on-nonfinite", "drop-client")]);
        using RoundState state = RoundState.InMemory();
        (double[] result, RoundReport report) = Rounds.Run(configured.Aggregator, [0, 0], [[1, 0], [2, 0], [3, 0]], state);
        Assert.That(report.Strategy, Is.EqualTo(rule));
        Assert.That(result[0], Is.GreaterThan(0));
        Assert.That(result[1], Is.Zero);
    }

    [Test]
    public void AnOptionOfTwoStagesIsNamedByItsStage()
    {
        StageAggregator rule = _registry.Create("heavy-ball", [new("heavy-ball.beta", "0"), new("lr", "0.5")]).Aggregator;
        Assert.That(Rounds.Run(rule, [0], [[4]]).Result, Is.EqualTo(new[] { 2.0 }));
    }

    [Test]
    public void WrongValuesAreSentences() => Assert.That(
        () => _registry.Create("agreeing-mean,heavy-ball", [new("agreement", "many"), new("lr", "-1")]),
        Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("Option 'agreement' is 'many'; a number was expected.")
            .And.Message.Contains("lr is -1; a finite number above 0 was expected."));

    [Test]
    public void EveryStrategyAndOptionIsDescribed()
    {
        string[] own = ["cauchy", "agreeing-mean", "heavy-ball"];
        Assert.That(_registry.Names.TakeLast(3), Is.EqualTo(own));
        foreach (StrategyDescription strategy in own.Select(name => _registry.Find(name)!))
        {
            Assert.That(strategy.Summary, Is.Not.Empty);
            Assert.That(strategy.Options.Select(option => option.Summary), Is.All.Not.Empty);
        }
    }

    [Test]
    public void ANameIsRegisteredOnce() => Assert.That(
        () => new OwnStrategies().Register(_registry),
        Throws.TypeOf<ArgumentException>().With.Message.Contains("'cauchy'"));
}
