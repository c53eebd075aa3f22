using FedICU.Tests.Docs;

namespace FedICU.Tests.Architecture;

/// <summary>
/// Lines end at 140 columns in code and at 120 in prose: documents, and comments of their own lines. A formatter would
/// hold neither comments nor documents, nor long strings; and this also runs with the tests on any machine.
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
        Assert.That(
            string.Join(Environment.NewLine, tooLong), Is.Empty,
            $"lines of more than {CodeColumns} columns of code or {ProseColumns} of prose");
    }

    private static IEnumerable<string> FilesOf(string place)
    {
        string folder = Path.Combine(Documents.Root!, place);
        var options = new EnumerationOptions { RecurseSubdirectories = place != ".", AttributesToSkip = FileAttributes.ReparsePoint };
        return Directory.EnumerateFiles(folder, "*", options)
            .Where(file => !Path.GetRelativePath(folder, file).Split('/', '\\').Any(Foreign.Contains));
    }

    private static IEnumerable<int> TooLong(string file)
    {
        bool isDocument = file.EndsWith(".md", StringComparison.Ordinal);
        if (!isDocument && !IsCode(file))
            yield break;
        string? fence = null;
        string[] lines = File.ReadAllLines(file);
        for (int i = 0; i < lines.Length; i++)
        {
            string text = lines[i].Trim();
            if (isDocument && text.StartsWith("```", StringComparison.Ordinal))
                fence = fence is null ? text : null;
            bool isProse = isDocument ? fence is null : IsComment(file, text);
            // output is shown as a program prints it, and a table's row has no place to break
            bool mustStay = isDocument && (fence == "```text" || isProse && text.StartsWith('|'));
            int columns = isProse ? ProseColumns : CodeColumns;
            if (!mustStay && Columns(lines[i]) > columns && CanBreak(text, columns))
                yield return i + 1;
        }
    }

    // a long address has no place to break
    private static bool CanBreak(string text, int columns) => text.AsSpan(0, Math.Min(text.Length, columns)).Contains(' ');

    private static int Columns(string line) => line.EnumerateRunes().Count();

    private static bool IsCode(string file) =>
        Path.GetExtension(file) is ".cs" or ".csproj" or ".py" or ".sh" or ".c" or ".h" or ".js" ||
        Path.GetFileName(Path.GetDirectoryName(file)) == ".ci";

    private static bool IsComment(string file, string text)
    {
        string mark = Path.GetExtension(file) is ".cs" or ".c" or ".h" or ".js" ? "//" : "#";
        return text.StartsWith(mark, StringComparison.Ordinal) && !text.StartsWith("#!", StringComparison.Ordinal);
    }
}
