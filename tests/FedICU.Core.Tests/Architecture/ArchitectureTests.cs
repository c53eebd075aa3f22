using System.Text.RegularExpressions;
using FedICU.Tests.Docs;

namespace FedICU.Tests.Architecture;

/// <summary>The rooms of FedICU.Core keep their order, and every type is where its name and its folder say.</summary>
[Parallelizable(ParallelScope.Self)]
internal sealed partial class ArchitectureTests
{
    private const string Document = "docs/architecture.md";

    private static readonly Lazy<SourceMap> Core = new(() => SourceMap.Read(Path.Combine(Documents.Root!, "src", "FedICU.Core")));

    private static IEnumerable<string> Projects => Documents.Root is not { } root ? [] :
        Directory.EnumerateDirectories(Path.Combine(root, "src")).Select(folder => Path.GetFileName(folder)).Order(StringComparer.Ordinal);

    [SetUp]
    public void TheSourcesAreHere()
    {
        if (Documents.Root is null)
            Assert.Ignore("the sources are not here");
    }

    [Test]
    public void EveryFolderIsARoom() =>
        Assert.That(
            Core.Value.Types.Select(type => Rooms.Of(type.File)).Distinct(), Is.EquivalentTo(Rooms.Arrows.Select(arrow => arrow.Room)));

    [Test]
    public void ARoomKnowsOnlyTheRoomsThatItMayKnow()
    {
        IEnumerable<string> wrong = Core.Value.References
            .Where(reference => !MayKnow(Rooms.Of(reference.From), Rooms.Of(reference.To)))
            .Select(reference => $"{reference.From} uses {reference.Symbol} of {reference.To}");
        Assert.That(wrong, Is.Empty, $"references against the order of rooms (the allowed arrows: {nameof(Rooms)}.cs, {Document})");
    }

    [Test]
    public void EveryAllowedArrowIsInUse()
    {
        HashSet<(string, string)> used = [.. Core.Value.References.Select(reference => (Rooms.Of(reference.From), Rooms.Of(reference.To)))];
        IEnumerable<string> unused = Rooms.Arrows.SelectMany(arrow => arrow.MayKnow, (arrow, known) => (arrow.Room, known))
            .Concat(Rooms.BackEdges.Select(edge => (Room: edge.From, known: edge.To)))
            .Where(arrow => !used.Contains(arrow)).Select(arrow => $"{arrow.Room} -> {arrow.known}");
        Assert.That(unused, Is.Empty, "arrows that nothing needs any more");
    }

    [Test]
    public void ArrowsPointDownwardsButForAtMostThree()
    {
        var below = new HashSet<string>();
        foreach ((string room, string[] mayKnow) in Rooms.Arrows)
        {
            Assert.That(mayKnow, Is.SubsetOf(below), $"{room} may know rooms below it");
            below.Add(room);
        }

        Assert.That(Rooms.BackEdges, Has.Count.LessThanOrEqualTo(3));
        Assert.That(Rooms.BackEdges.Select(edge => edge.Reason), Has.All.Not.Empty);
    }

    [TestCaseSource(nameof(Projects))]
    public void APublicTypeIsInTheFileOfItsName(string project)
    {
        IEnumerable<string> wrong = SourceMap.TypesIn(Path.Combine(Documents.Root!, "src", project))
            .Where(type => type.IsPublic)
            .Where(type => Path.GetFileNameWithoutExtension(type.File) is var file &&
                file != type.Name && !(type.IsPartial && file.StartsWith(type.Name + ".", StringComparison.Ordinal)))
            .Select(type => $"{type.Name} is declared in {type.File}");
        Assert.That(wrong, Is.Empty);
    }

    [Test]
    public void AnInternalTypeHasTheNamespaceOfItsFolder()
    {
        IEnumerable<string> wrong = Core.Value.Types
            .Where(type => !type.IsPublic && !IsAdditionToAPublicType(type))
            .Select(type => (Type: type, Expected: NamespaceOf(type.File)))
            .Where(both => both.Type.Namespace != both.Expected)
            .Select(both => $"{both.Type.File}: {both.Type.Name} is in {both.Type.Namespace}; {both.Expected} was expected");
        Assert.That(wrong, Is.Empty);
    }

    [Test]
    public void NoProjectCompilesTheSourcesOfAnother()
    {
        string source = Path.Combine(Documents.Root!, "src");
        IEnumerable<string> projects = Directory.EnumerateFiles(source, "*.csproj", SearchOption.AllDirectories)
            .Where(project => ForeignSource().IsMatch(File.ReadAllText(project))).Select(project => Path.GetRelativePath(source, project));
        Assert.That(projects, Is.Empty);
    }

    [Test]
    public void TheDocumentListsTheAllowedArrows()
    {
        IEnumerable<string> expected = Rooms.Arrows.Select(arrow => $"{arrow.Room}: {string.Join(", ", arrow.MayKnow)}");
        IEnumerable<string> found = RoomRow().Matches(SectionOnRooms())
            .Select(row => $"{row.Groups["room"].Value}: {KnownRooms(row.Groups["known"].Value)}");
        Assert.That(found, Is.EqualTo(expected), $"the table of rooms in {Document}");
    }

    [Test]
    public void TheDocumentDrawsTheArrowsThatDoNotFollowFromOthers()
    {
        Dictionary<string, string[]> arrows = Rooms.Arrows.ToDictionary(arrow => arrow.Room, arrow => arrow.MayKnow);
        IEnumerable<string> expected = Rooms.Arrows.SelectMany(arrow => arrow.MayKnow
            .Where(known => !arrow.MayKnow.Any(between => between != known && Reaches(between, known)))
            .Select(known => $"{arrow.Room} --> {known}"));
        IEnumerable<string> found = DrawnArrow().Matches(SectionOnRooms())
            .Select(arrow => $"{Room(arrow.Groups["from"].Value)} --> {Room(arrow.Groups["to"].Value)}");
        Assert.That(found, Is.EquivalentTo(expected), $"the picture in {Document}");

        bool Reaches(string from, string to) => arrows[from].Contains(to) || arrows[from].Any(between => Reaches(between, to));
    }

    private static string SectionOnRooms()
    {
        string text = Documents.Read(Document);
        int start = text.IndexOf("\n## The rooms of FedICU.Core\n", StringComparison.Ordinal);
        return text[start..text.IndexOf("\n## ", start + 1, StringComparison.Ordinal)];
    }

    private static bool MayKnow(string from, string to) => from == to ||
        Rooms.Arrows.Any(arrow => arrow.Room == from && arrow.MayKnow.Contains(to)) ||
        Rooms.BackEdges.Any(edge => edge.From == from && edge.To == to);

    // a partial file of a public type need not repeat "public"
    private static bool IsAdditionToAPublicType(DeclaredType type) =>
        type.IsPartial && Core.Value.Types.Any(other => other.IsPublic && other.Name == type.Name && other.Namespace == type.Namespace);

    private static string NamespaceOf(string file) => string.Join('.', Path.GetDirectoryName(file)!
        .Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries).Prepend("FedICU"));

    // in the picture, whose identifiers may hold no brackets and slashes
    private static string Room(string identifier) =>
        identifier switch { "Root" => Rooms.Root, "Abstractions" => Rooms.Abstractions, _ => identifier };

    private static string KnownRooms(string cell) =>
        cell.Trim() == "nothing" ? "" : string.Join(", ", cell.Split(',', StringSplitOptions.TrimEntries));

    [GeneratedRegex(@"<Compile\s+Include=""\.\./")]
    private static partial Regex ForeignSource();

    // | `Room` | what it is for | what it may know |
    [GeneratedRegex(@"^\| `(?<room>[\w()/]+)` \|[^|\n]*\|(?<known>[^|\n]*)\|$", RegexOptions.Multiline)]
    private static partial Regex RoomRow();

    [GeneratedRegex(@"^ *(?<from>\w+) --> (?<to>\w+)$", RegexOptions.Multiline)]
    private static partial Regex DrawnArrow();
}
