using System.Text;
using System.Text.RegularExpressions;

namespace FedICU.Tests.Docs;

/// <summary>Checks that links inside the repository lead to files and headings that exist.</summary>
internal sealed partial class LinkTests
{
    private static IEnumerable<string> AllDocuments => Documents.All;

    [TestCaseSource(nameof(AllDocuments))]
    public void RelativeLinksLeadToFiles(string document)
    {
        List<string> dead = [];
        foreach (Match match in LinkPattern().Matches(Documents.Split(document).Prose))
        {
            string target = match.Groups["target"].Value;
            if (!IsExternal(target) && !Exists(document, target))
                dead.Add(target);
        }

        Assert.That(dead, Is.Empty, $"dead links in {document}");
    }

    [TestCaseSource(nameof(AllDocuments))]
    public void ALinkedFileDeclaresTheTypeThatTheLinkNames(string document)
    {
        List<string> wrong = [];
        foreach (Match match in CodeLinkPattern().Matches(Documents.Split(document).Prose))
        {
            string file = Resolve(document, match.Groups["target"].Value);
            string code = File.Exists(file) ? File.ReadAllText(file) : "";
            string type = match.Groups["type"].Value, member = match.Groups["member"].Value;
            bool declaresType = Regex.IsMatch(code, $@"\b(class|struct|record|interface|enum)\s+{type}\b");
            bool namesMember = member.Length == 0 || Regex.IsMatch(code, $@"\b{member}\b");
            if (!declaresType || !namesMember)
                wrong.Add(match.Value);
        }

        Assert.That(wrong, Is.Empty, $"names in {document} that the linked file does not declare");
    }

    [Test]
    public void CommentsCiteDocumentsThatExist()
    {
        if (Documents.Root is not { } root)
        {
            Assert.Ignore("the documents are not here");
            return;
        }

        List<string> unknown = [];
        foreach (string file in Directory.EnumerateFiles(Path.Combine(root, "src"), "*.cs", SearchOption.AllDirectories))
        {
            foreach (Match match in CitationPattern().Matches(File.ReadAllText(file)))
            {
                string cited = match.Value;
                bool exists = File.Exists(Path.Combine(root, cited)) || cited.StartsWith("docs/adr/", StringComparison.Ordinal) &&
                    Directory.EnumerateFiles(Path.Combine(root, "docs", "adr"), Path.GetFileName(cited) + "*").Any();
                if (!exists)
                    unknown.Add($"{Path.GetRelativePath(root, file)}: {cited}");
            }
        }

        Assert.That(unknown, Is.Empty);
    }

    private static bool IsExternal(string target) =>
        target.Contains("://", StringComparison.Ordinal) || target.StartsWith("mailto:", StringComparison.Ordinal);

    /// <summary>Gets the full path of a link's target.</summary>
    private static string Resolve(string document, string target) =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(Path.Combine(Documents.Root!, document))!, target));

    private static bool Exists(string document, string target)
    {
        string[] parts = target.Split('#', 2);
        string to = parts[0].Length == 0 ? Path.Combine(Documents.Root!, document) : Resolve(document, parts[0]);
        if (!to.StartsWith(Documents.Root!, StringComparison.Ordinal) || !(File.Exists(to) || Directory.Exists(to)))
            return false;
        if (parts.Length == 1 || !to.EndsWith(".md", StringComparison.Ordinal))
            return true;
        return Anchors(Path.GetRelativePath(Documents.Root!, to)).Contains(parts[1]);
    }

    private static IEnumerable<string> Anchors(string document) => Documents.Split(document).Prose.Split('\n')
        .Where(line => line.StartsWith('#')).Select(line => Anchor(line.TrimStart('#').Trim()));

    // the anchor that GitHub makes of a heading
    private static string Anchor(string heading)
    {
        var anchor = new StringBuilder();
        foreach (char letter in heading.ToLowerInvariant())
        {
            if (char.IsLetterOrDigit(letter) || letter is '-' or '_')
                anchor.Append(letter);
            else if (letter == ' ')
                anchor.Append('-');
        }

        return anchor.ToString();
    }

    [GeneratedRegex(@"docs/adr/\d{4}|[\w/-]+\.md\b")]
    private static partial Regex CitationPattern();

    // [`Type`](file.cs) and [`Type.Member`](file.cs)
    [GeneratedRegex(@"\[`(?<type>\w+)(\.(?<member>\w+))?`\]\((?<target>[^)\s#]+\.cs)\)")]
    private static partial Regex CodeLinkPattern();

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)\)|^\[[^\]]+\]:\s*(?<target>\S+)", RegexOptions.Multiline)]
    private static partial Regex LinkPattern();
}
