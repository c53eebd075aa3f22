using System.Text;

namespace FedICU.Tests.Docs;

/// <summary>A fenced block of a document.</summary>
/// <param name="Document">The document's path from the repository's root.</param>
/// <param name="Line">The line of the opening fence.</param>
/// <param name="Info">The text after the opening fence: <c>csharp name</c>.</param>
/// <param name="Text">The lines between the fences.</param>
internal sealed record Fence(string Document, int Line, string Info, string Text)
{
    public string Language => Info.Split(' ')[0];

    /// <summary>Gets the name of the region or file whose text the block shows.</summary>
    public string Name => Info[Language.Length..].Trim();

    public bool IsCSharp => Language.ToLowerInvariant() is "csharp" or "cs" or "c#";

    public override string ToString() => $"{Document}:{Line} {Info}";
}

/// <summary>Reads the repository's documents and the code blocks in them.</summary>
internal static class Documents
{
    /// <summary>Gets the repository's root, or null if the tests run outside of it.</summary>
    public static string? Root { get; } = Locate();

    /// <summary>
    /// Gets README.md, docs/*.md, the packages' READMEs and the page on TorchSharp, whose C# is compiled and run. The
    /// decisions in docs/adr show no code.
    /// </summary>
    public static IEnumerable<string> WithCode =>
        Root is null ? [] :
        [
            .. Existing("README.md"), .. Under("docs", SearchOption.TopDirectoryOnly), .. OfPackages,
            .. Existing("docs/plugging-in/torchsharp.md"),
        ];

    /// <summary>Gets the READMEs of the packages, each beside its project.</summary>
    public static IEnumerable<string> OfPackages => Root is null ? [] : [.. Under("src", SearchOption.AllDirectories)];

    /// <summary>Gets every document: those at the root, all under docs, and the packages' READMEs.</summary>
    public static IEnumerable<string> All =>
        Root is null ? [] :
        [
            .. Directory.EnumerateFiles(Root, "*.md").Select(Relative), .. Under("docs", SearchOption.AllDirectories), .. OfPackages,
        ];

    public static string Read(string document) => File.ReadAllText(Path.Combine(Root!, document)).ReplaceLineEndings("\n");

    /// <summary>Splits a document into its fenced blocks and the text without them.</summary>
    public static (List<Fence> Fences, string Prose) Split(string document)
    {
        List<Fence> fences = [];
        var prose = new StringBuilder();
        string[] lines = Read(document).Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            string opening = lines[i].TrimStart();
            if (!opening.StartsWith("```", StringComparison.Ordinal))
            {
                prose.Append(lines[i]).Append('\n');
                continue;
            }

            int first = i;
            List<string> body = [];
            for (i++; i < lines.Length && lines[i].Trim() != "```"; i++)
                body.Add(lines[i]);
            Assert.That(i, Is.LessThan(lines.Length), $"{document}:{first + 1}: the block has no end");
            fences.Add(new Fence(document, first + 1, opening[3..].Trim(), string.Join('\n', body)));
        }

        return (fences, prose.ToString());
    }

    private static IEnumerable<string> Existing(string document) => File.Exists(Path.Combine(Root!, document)) ? [document] : [];

    private static IEnumerable<string> Under(string folder, SearchOption depth) =>
        Directory.EnumerateFiles(Path.Combine(Root!, folder), "*.md", depth).Select(Relative).Order(StringComparer.Ordinal);

    private static string Relative(string path) => Path.GetRelativePath(Root!, path).Replace('\\', '/');

    private static string? Locate()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "FedICU.Core.sln")))
                return folder.FullName;
        }

        return null;
    }
}
