namespace FedICU.Tests.Docs;

/// <summary>
/// Compares the parts of docs/strategies.md that are made from the registry, or writes them
/// (<see cref="StrategiesPage.Rewrite"/>).
/// </summary>
internal sealed class StrategiesPageTests
{
    private const string Page = "docs/strategies.md";

    // with the strategies of FedICU.Lora, which Registration has added
    private readonly StrategyRegistry _registry = StrategyRegistry.Default;

    [SetUp]
    public void NeedDocuments() => Assume.That(Documents.Root, Is.Not.Null, "the documents are not here");

    [Test]
    public void TheMadePartsAreThoseOfTheRegistry()
    {
        string updated = StrategiesPage.Update(Documents.Read(Page), _registry);
        if (Environment.GetEnvironmentVariable(StrategiesPage.Rewrite) == "1")
            File.WriteAllText(Path.Combine(Documents.Root!, Page), updated);
        Assert.That(
            Documents.Read(Page), Is.EqualTo(updated),
            $"{Page} has parts that are not the registry's; {StrategiesPage.Rewrite}=1 with this test writes them again");
    }

    [Test]
    public void EachStrategyHasASectionWithAFormulaAndItsOptions()
    {
        ILookup<string, string> sections = StrategiesPage.GetSections(Documents.Read(Page));
        using (Assert.EnterMultipleScope())
        {
            foreach (string name in _registry.Names)
            {
                string section = string.Join('\n', sections[name]);
                Assert.That(sections[name].Count(), Is.EqualTo(1), $"sections of {name}");
                Assert.That(section, Does.Contain("\n```text\n"), $"the formula of {name}");
                Assert.That(StrategiesPage.GetParts(section), Does.Contain(StrategiesPage.NameOptions(name)), $"the options of {name}");
            }
        }
    }

    [Test]
    public void TheTableAndTheOptionsOfEveryRoundAreOnThePage() =>
        Assert.That(StrategiesPage.GetParts(Documents.Read(Page)), Is.SupersetOf(new[] { "all strategies", "options of every round" }));
}
