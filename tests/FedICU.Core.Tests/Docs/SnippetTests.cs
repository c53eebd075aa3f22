using System.Text.RegularExpressions;

namespace FedICU.Tests.Docs;

/// <summary>
/// Compares the C# blocks of README.md, docs/*.md and the packages' READMEs with the code of this folder and of
/// ReadmeSnippets.cs of other tests. Each block has a name, <c>```csharp name</c>, and is the text of
/// <c>#region name</c> in one of the files. If the name ends in .cs, the block is the whole file. A region is inside a
/// test that runs it on real files. Using directives at the start of a block cannot be inside a region: the tests only
/// check that such a namespace of this library exists.
/// </summary>
internal sealed partial class SnippetTests
{
    private static IEnumerable<Fence> CSharpFences =>
        Documents.WithCode.SelectMany(document => Documents.Split(document).Fences).Where(fence => fence.IsCSharp);

    /// <summary>Gets the lines of the public surfaces; a type's line begins with its namespace.</summary>
    private static IEnumerable<string> PublicNames =>
        Directory.EnumerateFiles(Path.Combine(Documents.Root!, "src"), "PublicAPI.*.txt", SearchOption.AllDirectories)
            .SelectMany(File.ReadLines);

    [TestCaseSource(nameof(CSharpFences))]
    public void ACodeBlockIsTheTextOfACompiledRegion(Fence fence)
    {
        Assert.That(fence.Language, Is.EqualTo("csharp"), $"{fence}: C# blocks are marked csharp");
        Assert.That(fence.Name, Is.Not.Empty, $"{fence}: a C# block needs the name of its region");
        if (fence.Name.EndsWith(".cs", StringComparison.Ordinal))
        {
            string file = Path.Combine(Folder, fence.Name);
            Assert.That(File.Exists(file), $"{fence}: there is no such file in the Docs folder of the tests");
            Assert.That(Normal(fence.Text), Is.EqualTo(Normal(File.ReadAllText(file))), fence.ToString());
            return;
        }

        Dictionary<string, string> regions = Regions();
        Assert.That(regions.Keys, Does.Contain(fence.Name), $"{fence}: there is no such region in the Docs folder of the tests");
        Match head = UsingsPattern().Match(fence.Text);
        foreach (string name in head.Groups["name"].Captures.Select(name => name.Value).Where(IsOfThisLibrary))
            Assert.That(PublicNames.Any(line => line.StartsWith(name + ".", StringComparison.Ordinal)), $"{fence}: {name}");
        Assert.That(Normal(fence.Text[head.Length..]), Is.EqualTo(regions[fence.Name]), fence.ToString());
    }

    [Test]
    public void RegionsHaveUniqueNames()
    {
        if (Documents.Root is null)
            Assert.Ignore("the documents are not here");
        Assert.That(Regions(), Is.Not.Empty);
    }

    [Test]
    public void ThereIsAReadmeBesideEveryPackedProject()
    {
        if (Documents.Root is not { } root)
        {
            Assert.Ignore("the documents are not here");
            return;
        }

        IEnumerable<string> packed = Directory.EnumerateFiles(Path.Combine(root, "src"), "*.csproj", SearchOption.AllDirectories)
            .Where(project => File.ReadAllText(project).Contains("<IsPackable>true<", StringComparison.Ordinal))
            .Select(project => $"src/{Path.GetFileNameWithoutExtension(project)}/README.md");
        // the wheel's page is beside no project
        Assert.That(packed.Append("src/FedICU.Interop/python/README.md"), Is.EquivalentTo(Documents.OfPackages));
    }

    // packing rewrites links of this form, and no other link works on the page of a package
    [TestCaseSource(typeof(Documents), nameof(Documents.OfPackages))]
    public void LinksOfAPackagesReadmeBeginAtTheRepository(string readme) => Assert.That(
        LinkPattern().Matches(Documents.Split(readme).Prose).Select(link => link.Groups["target"].Value),
        Has.All.StartWith("../../"));

    private static string Folder => Path.Combine(Documents.Root!, "tests", "FedICU.Core.Tests", "Docs");

    private static Dictionary<string, string> Regions()
    {
        var regions = new Dictionary<string, string>(StringComparer.Ordinal);
        IEnumerable<string> ofOtherTests = Directory.EnumerateDirectories(Path.Combine(Documents.Root!, "tests"))
            .Select(folder => Path.Combine(folder, "ReadmeSnippets.cs")).Where(File.Exists);
        foreach (string file in Directory.EnumerateFiles(Folder, "*.cs").Concat(ofOtherTests))
        {
            foreach (Match match in RegionPattern().Matches(File.ReadAllText(file).ReplaceLineEndings("\n")))
            {
                string name = match.Groups["name"].Value;
                Assert.That(regions.TryAdd(name, Normal(match.Groups["body"].Value)), $"there are two regions '{name}'");
            }
        }

        return regions;
    }

    private static bool IsOfThisLibrary(string name) => name.Split('.')[0] == nameof(FedICU);

    /// <summary>Removes the common indentation, trailing blanks, and blank lines at both ends.</summary>
    private static string Normal(string text)
    {
        string[] lines = [.. text.ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd())];
        IEnumerable<string> texts = lines.Where(line => line.Length > 0);
        int indentation = texts.Select(line => line.Length - line.TrimStart(' ').Length).DefaultIfEmpty().Min();
        return string.Join('\n', lines.Select(line => line.Length > 0 ? line[indentation..] : line)).Trim('\n');
    }

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)\)")]
    private static partial Regex LinkPattern();

    [GeneratedRegex(@"^(using (?<name>[\w.]+);\n)*")]
    private static partial Regex UsingsPattern();

    [GeneratedRegex(@"^ *#region (?<name>\S+)\n(?<body>.*?)^ *#endregion", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex RegionPattern();
}
