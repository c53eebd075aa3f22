using System.Text.RegularExpressions;
using FedICU.Diagnostics;

namespace FedICU.Tests.Docs;

/// <summary>docs/report.md lists the keys that the serializer writes, and no others.</summary>
internal sealed partial class ReportPageKeysTests
{
    [Test]
    public void TheDocumentListsTheKeysOfTheReport()
    {
        if (Documents.Root is not { } root)
        {
            Assert.Ignore("the documents are not here");
            return;
        }

        string section = File.ReadAllText(Path.Combine(root, "docs", "report.md")).Split("## The keys of report.json")[1];
        string[] listed =
        [
            .. section.Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal))
                .SelectMany(line => Key().Matches(line.Split('|')[1]).Select(match => match.Groups[1].Value)),
        ];
        Type[] types =
        [
            typeof(RoundReport), typeof(BackendShare), typeof(ClientReport), typeof(TensorReport), typeof(TensorClientReport),
            typeof(StageReport), typeof(LoraPairReport), typeof(ClientSimilarities),
        ];
        IEnumerable<string> written = types.SelectMany(type => ReportJson.Default.GetTypeInfo(type)!.Properties
            // a member that is not written has no getter
            .Where(property => property.Get is not null).Select(property => property.Name));
        Assert.That(listed, Is.EquivalentTo(written));
    }

    [GeneratedRegex("`([a-z_]+)`")]
    private static partial Regex Key();
}
