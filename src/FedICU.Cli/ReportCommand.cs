using System.CommandLine;
using System.Globalization;
using System.Text;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu report</c>: writes reports of rounds as one HTML page.</summary>
internal sealed class ReportCommand : FedIcuCommand
{
    private const string FileName = "report.json";

    // the beginning of every HTML page that the tool writes
    private const string PageStart = "<!DOCTYPE html>";

    private readonly Argument<string[]> _reports = new("REPORT")
    {
        Description = "A report, as 'aggregate --report' writes it, or a folder: its report.json, otherwise the report.json of each " +
            "folder in it, in the order of the numbers in their names.",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<string> _output = Flags.Required("--output", "FILE", "The HTML page. An existing HTML page is replaced.");
    private readonly Option<string?> _title =
        Flags.Optional("--title", "TEXT", "The page's title. Default: the strategies and the rounds.");
    private readonly Option<bool> _followLinks = Flags.FollowLinks();

    public ReportCommand(Terminal terminal)
        : base("report", "Writes reports of rounds as one HTML page with heat maps, tables and charts.", terminal)
    {
        Add(_reports);
        Add(_output);
        Add(_title);
        Add(_followLinks);
    }

    public override IReadOnlyList<string> Examples =>
    [
        "fedicu report round.json --output report.html",
        "fedicu report rounds/ --output report.html --title \"Ten clinics\"",
    ];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) =>
        Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        string output = Paths.Read("--output", line.GetRequiredValue(_output));
        string[] files = [.. line.GetRequiredValue(_reports).SelectMany(Find)];
        if (files.FirstOrDefault(file => Paths.Same(file, output)) is { } same)
            throw new RefusedException($"--output '{output}' is the report '{same}' itself.");
        RefuseOtherFile(output);
        using var file = ReportFile.OfOption("--output", output, line.GetValue(_followLinks), Terminal);
        List<RoundReport> reports = [];
        foreach (string path in files)
        {
            cancellationToken.ThrowIfCancellationRequested();
            reports.Add(Read(path));
        }

        using var page = new MemoryStream();
        ReportPage.Write(reports, page, line.GetValue(_title));
        file.Write(Encoding.UTF8.GetString(page.GetBuffer().AsSpan(0, (int)page.Length)).TrimEnd('\n'));
        Terminal.Line($"{output}: {Text.Count(reports.Count, "round")}, {Text.Bytes(page.Length)}");
        return ExitCode.Done;
    }

    /// <summary>Returns the reports of an argument: the file itself, or those of a folder.</summary>
    private static IEnumerable<string> Find(string path)
    {
        if (!Directory.Exists(Paths.Read("REPORT", path)))
            return [path];
        string own = Path.Combine(path, FileName);
        if (File.Exists(own))
            return [own];
        try
        {
            string[] found =
            [
                .. Directory.EnumerateDirectories(path)
                    .OrderBy(folder => NumberOf(Path.GetFileName(folder))).ThenBy(folder => folder, StringComparer.Ordinal)
                    .Select(folder => Path.Combine(folder, FileName)).Where(File.Exists),
            ];
            return found.Length > 0
                ? found
                : throw new RefusedException($"REPORT '{path}' is a folder without a {FileName}, and so are the folders in it.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"REPORT '{path}' cannot be read: {FileFailure.Describe(e)}.");
        }
    }

    // the number that a folder's name ends with, such as 7 of round-7; folders without one come last
    private static long NumberOf(string name)
    {
        string digits = name[(name.AsSpan().LastIndexOfAnyExceptInRange('0', '9') + 1)..];
        return long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : long.MaxValue;
    }

    private static RoundReport Read(string path)
    {
        try
        {
            return RoundReport.FromJson(File.ReadAllText(path));
        }
        catch (FedIcuException e)
        {
            throw new RefusedException($"REPORT '{path}': {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"REPORT '{path}' cannot be read: {FileFailure.Describe(e)}.");
        }
    }

    /// <summary>
    /// Refuses to replace a file that is no HTML page, such as a model whose name was typed by mistake.
    /// </summary>
    private static void RefuseOtherFile(string output)
    {
        if (!File.Exists(output) || FilePlace.IsSpecial(output))
            return;
        try
        {
            using FileStream stream = File.OpenRead(output);
            byte[] start = new byte[PageStart.Length];
            int read = stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
            if (read > 0 && !Encoding.ASCII.GetString(start, 0, read).Equals(PageStart, StringComparison.OrdinalIgnoreCase))
            {
                throw new RefusedException(
                    $"--output '{output}' exists and is no HTML page; the name of a page or of a new file was expected.");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"--output '{output}' cannot be replaced: {FileFailure.Describe(e)}.");
        }
    }
}
