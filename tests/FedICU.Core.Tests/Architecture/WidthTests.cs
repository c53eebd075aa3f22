using FedICU.Tests.Docs;

namespace FedICU.Tests.Architecture;

/// <summary>
/// Lines end at 140 columns in code and at 120 in prose: documents, and comments of their own lines. A formatter would hold neither
/// comments nor documents, nor long strings; and this also runs with the tests on any machine.
/// </summary>
internal sealed class WidthTests
{
    private const int CodeColumns = 140, ProseColumns = 120;

    private static readonly string[] Folders = ["src", "tests", "benchmarks", "samples", "docs", ".ci"];

    // what programs write, and what others wrote
    private static readonly string[] Foreign = ["obj", "bin", "artifacts", "TestResults", "results", "Protos"];

    private static IEnumerable<string> Places => Documents.Root is null ? [] : [.. Folders, "."];

    [TestCaseSource(nameof(Places))]
    public void LinesEndInTime(string place)
    {
        IEnumerable<string> tooLong = FilesOf(place).SelectMany(file => TooLong(file)
            .Select(line => $"{Path.GetRelativePath(Documents.Root!, file)}:{line}"));
        Assert.That(string.Join(Environment.NewLine, tooLong), Is.Empty, $"lines of more than {CodeColumns} columns of code or {ProseColumns} of prose");
    }

    private static IEnumerable<string> FilesOf(string place)
    {
        string folder = Path.Combine(Documents.Root!, place);
        var options = new EnumerationOptions { RecurseSubdirectories = place != ".", AttributesToSkip = FileAttributes.ReparsePoint };
        return Directory.EnumerateFiles(folder, "*", options).Where(file => !Path.GetRelativePath(folder, file).Split('/', '\\').Any(Foreign.Contains));
    }

    private static IEnumerable<int> TooLong(string file)
    {
        bool isDocument = file.EndsWith(".md", StringComparison.Ordinal);
        if (!isDocument && !IsCode(file))
            yield break;
        bool isFenced = false;
        string[] lines = File.ReadAllLines(file);
        for (int i = 0; i < lines.Length; i++)
        {
            string text = lines[i].Trim();
            bool isFence = isDocument && text.StartsWith("```", StringComparison.Ordinal);
            isFenced ^= isFence;
            bool isProse = isDocument ? !isFenced && !isFence : IsComment(file, text);
            // a table's row has no place to break, nor has a long address
            bool isTable = isProse && isDocument && text.StartsWith('|');
            if (Columns(lines[i]) > (isProse ? ProseColumns : CodeColumns) && !isTable && lines[i].TrimStart().AsSpan(0, Math.Min(text.Length, ProseColumns)).Contains(' '))
                yield return i + 1;
        }
    }

    private static int Columns(string line) => line.EnumerateRunes().Count();

    private static bool IsCode(string file) =>
        Path.GetExtension(file) is ".cs" or ".csproj" or ".props" or ".targets" or ".py" or ".sh" or ".c" or ".h" || Path.GetFileName(Path.GetDirectoryName(file)) == ".ci";

    private static bool IsComment(string file, string text) =>
        text.StartsWith(Path.GetExtension(file) is ".cs" or ".c" or ".h" ? "//" : "#", StringComparison.Ordinal) && !text.StartsWith("#!", StringComparison.Ordinal);
}
