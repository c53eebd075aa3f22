namespace FedICU.Tests.Docs;

/// <summary>
/// Compares docs/strategies.md with the registry, or writes it (<see cref="StrategiesPage.Rewrite"/>).
/// </summary>
internal sealed class StrategiesPageTests
{
    [Test]
    public void ThePageIsThatOfTheRegistry()
    {
        if (Documents.Root is not { } root)
        {
            Assert.Ignore("the documents are not here");
            return;
        }

        string file = Path.Combine(root, "docs", "strategies.md");
        string page = StrategiesPage.Write(new StrategyRegistry()).ReplaceLineEndings("\n");
        if (Environment.GetEnvironmentVariable(StrategiesPage.Rewrite) == "1")
            File.WriteAllText(file, page);
        Assert.That(
            Documents.Read("docs/strategies.md"), Is.EqualTo(page),
            $"docs/strategies.md is not the registry's; {StrategiesPage.Rewrite}=1 with this test writes it again");
    }
}
