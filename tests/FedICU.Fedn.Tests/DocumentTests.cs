namespace FedICU.Fedn.Tests;

/// <summary>Tests that docs/plugging-in/fedn.md has a line for each option.</summary>
internal sealed class DocumentTests
{
    [Test]
    public void EachOptionHasALineInTheTable()
    {
        string? folder = TestContext.CurrentContext.TestDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "FedICU.Core.sln")))
            folder = Path.GetDirectoryName(folder);
        if (folder is null)
            Assert.Ignore("the documents are not here");
        string[] lines = File.ReadAllLines(Path.Combine(folder!, "docs", "plugging-in", "fedn.md"));
        IEnumerable<string> options = typeof(FednOptions).GetProperties()
            .Where(property => property.SetMethod is { IsPublic: true }).Select(property => property.Name);
        Assert.Multiple(() =>
        {
            foreach (string option in options)
                Assert.That(lines, Has.Exactly(1).StartsWith($"| {option} |"), option);
        });
    }
}
