using FedICU.Cli.Comparing;

namespace FedICU.Cli.Tests.Comparing;

/// <summary>Tests how the text of <c>--strategies</c> becomes runs.</summary>
public sealed class StrategyListTests
{
    private static List<ComparedStrategy> Read(params string[] texts)
    {
        var errors = new List<string>();
        List<ComparedStrategy> runs = StrategyList.Read(texts, errors);
        Assert.That(errors, Is.Empty);
        return runs;
    }

    [Test]
    public void CommasSeparateRunsAndPlusJoinsAChain()
    {
        List<ComparedStrategy> runs = Read("fedavg,krum+fedadam", "median");
        Assert.That(runs.Select(run => run.Chain), Is.EqualTo(new[] { "fedavg", "krum,fedadam", "median" }));
        Assert.That(runs.Select(run => run.Name), Is.EqualTo(new[] { "fedavg", "krum+fedadam", "median" }));
    }

    [Test]
    public void EachCombinationOfValuesIsARun([Values(1, 2, 3)] int first, [Values(1, 4)] int second)
    {
        string list = $"fedicu:tau={string.Join('|', Enumerable.Range(1, first))}:eps={string.Join('|', Enumerable.Range(1, second))}";
        List<ComparedStrategy> runs = Read(list);
        Assert.That(runs, Has.Count.EqualTo(first * second));
        Assert.That(runs.Select(run => run.Name).Distinct().Count(), Is.EqualTo(runs.Count));
        Assert.That(runs[^1].Name, Is.EqualTo($"fedicu tau={first} eps={second}"));
    }

    [TestCase(@"a:x=1\,2", "1,2")]
    [TestCase(@"a:x=C\:\models\g.safetensors", @"C:\models\g.safetensors")]
    [TestCase(@"a:x=p\|q", "p|q")]
    [TestCase(@"a:x=p=q", "p=q")]
    [TestCase("a:x=", "")]
    public void ABackslashBeforeASeparatorMakesItPartOfTheValue(string list, string value) =>
        Assert.That(Read(list).Single().Settings.Single().Value, Is.EqualTo(value));

    [TestCase("a:tau", "'tau'")]
    [TestCase("a:", "''")]
    [TestCase("a:=1", "'=1'")]
    [TestCase("a,a", "'a' twice")]
    [TestCase("a:x=1|1", "'a x=1' twice")]
    public void AFaultIsASentence(string list, string part)
    {
        var errors = new List<string>();
        StrategyList.Read([list], errors);
        Assert.That(errors, Has.Some.Contains(part));
    }

    [Test]
    public void TooManyRunsAreRefusedWithoutMakingThem()
    {
        var errors = new List<string>();
        string values = string.Join('|', Enumerable.Range(0, 100));
        List<ComparedStrategy> runs = StrategyList.Read(
            ["a" + string.Concat(Enumerable.Range(0, 8).Select(i => $":o{i}={values}"))], errors);
        Assert.That(errors.Single(), Does.Contain("more than 1000"));
        Assert.That(runs, Has.Count.LessThan(1100));
    }

    [Test]
    public void FoldersAreUniqueAndSafeWhateverTheNames()
    {
        string[] names =
        [
            "fedicu tau=0.5", "a b=1", "a-b=1", "A b=1", "con", "nul.txt", "..", ".", "", "a/../../b", @"a\b", "a\0b", "\u202Ea",
            new string('x', 5000),
            "global", "x.", "ü=ä", "ü=ö", "root=/etc/passwd",
        ];
        var folders = new RunFolders();
        string[] made = [.. names.Select(folders.Name)];
        Assert.That(made.Select(name => name.ToUpperInvariant()).Distinct().Count(), Is.EqualTo(names.Length));
        Assert.That(made, Has.All.Match("^[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,119}$").And.All.Not.EndWith("."));
        Assert.That(made[0], Is.EqualTo("fedicu-tau-0.5"));
        Assert.That(made[4], Is.Not.EqualTo("con"));
    }
}
