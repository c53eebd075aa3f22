namespace FedICU.Cli.Tests;

/// <summary>Runs <c>fedicu strategies</c>.</summary>
public sealed class StrategiesTests
{
    [Test]
    public void EveryStrategyIsListedAndDescribed()
    {
        Run list = Tool.Run("strategies").Succeeded();
        Assert.That(list.Lines[0], Does.Match("^name +summary +paper$"));
        Assert.That(list.Lines, Has.Length.EqualTo(1 + StrategyRegistry.Default.Strategies.Count));
        string help = Tool.Run("aggregate", "--help").Succeeded().Output;
        foreach (StrategyDescription strategy in StrategyRegistry.Default.Strategies)
        {
            Assert.That(list.Cells(strategy.Name)[1], Is.EqualTo(strategy.Summary));
            Run run = Tool.Run("strategies", strategy.Name).Succeeded();
            Assert.That(run.Lines[0], Is.EqualTo($"{strategy.Name}: {strategy.Summary}"));
            foreach (OptionDescription option in strategy.Options.Concat(StrategyRegistry.RoundOptions))
            {
                string[] cells = [option.Name, option.Values, option.Default, option.Summary];
                Assert.That(run.Cells(option.Name + " "), Is.EqualTo(cells));
                Assert.That(help, Does.Contain(option.Name));
            }
        }
    }

    [Test]
    public void AStrategySaysWhereItStandsAndWhatItKeeps()
    {
        Assert.That(Tool.Run("strategies", "krum").Succeeded().Lines, Does.Contain("stage: weighting").And.Contain("state: none"));
        Run fedAdam = Tool.Run("strategies", "fedadam").Succeeded();
        Assert.That(fedAdam.Lines, Does.Contain("stage: server step").And.Contain("state: m (at first 0), v (at first 1E-06)"));
        Assert.That(fedAdam.Output, Does.Contain("merge: fedavg with its options (weighting)"));
        Assert.That(Tool.Run("strategies", "median").Succeeded().Lines, Does.Contain("stage: merge"));
    }
}
