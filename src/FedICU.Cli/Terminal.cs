using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FedICU.Files;
using Spectre.Console;

namespace FedICU.Cli;

/// <summary>
/// Writes results to the standard output, and errors and progress to the error stream. Colours, boxes and bars appear
/// only on a terminal.
/// </summary>
internal sealed class Terminal(TextWriter output, TextWriter error)
{
    private IAnsiConsole? _rich, _progress;

    public TextWriter Output => output;

    public TextWriter Error => error;

    /// <summary>
    /// Creates a terminal over the process's own streams. A stream that was closed before the tool started is never
    /// touched: its number may belong to another file.
    /// </summary>
    public static Terminal OfProcess() => new(
        ProcessLimits.IsOpen(1) ? Console.Out : new ClosedWriter(), ProcessLimits.IsOpen(2) ? Console.Error : TextWriter.Null)
    {
        _rich = !ProcessLimits.IsOpen(1) || Console.IsOutputRedirected ? null : Rich(Console.Out),
        _progress = !ProcessLimits.IsOpen(2) || Console.IsErrorRedirected ? null : Rich(Console.Error),
    };

    /// <summary>
    /// Returns the standard stream that a path means, otherwise null. Opening a redirected stream again by its path
    /// would write from the file's start.
    /// </summary>
    public TextWriter? Named(string path) => Path.GetFullPath(path) switch
    {
        "/dev/stdout" or "/dev/fd/1" or "/proc/self/fd/1" => output,
        "/dev/stderr" or "/dev/fd/2" or "/proc/self/fd/2" => error,
        _ => null,
    };

    public void Line(string text = "") => output.WriteLine(Text.Clean(text));

    /// <summary>Writes a line to the output: green if the news is good, red if it is bad.</summary>
    public void Verdict(string text, bool good)
    {
        if (_rich is null)
            Line(text);
        else
            _rich.MarkupLineInterpolated($"[{(good ? "green" : "red")}]{Text.Clean(text)}[/]");
    }

    /// <summary>Writes the error message that ends the command.</summary>
    public void Fail(string sentence) => WriteError("fedicu: " + Text.Clean(sentence));

    /// <summary>Writes a warning, which does not end the command.</summary>
    public void Warn(string sentence) => WriteError("fedicu: warning: " + Text.Clean(sentence));

    /// <summary>Writes a line about the progress of a long command.</summary>
    public void Progress(string sentence) => WriteError(Text.Clean(sentence));

    public void Table(ResultTable table)
    {
        if (_rich is null)
            table.WriteTo(output);
        else
            _rich.Write(table.ToRich());
    }

    /// <summary>Writes a result as JSON.</summary>
    public void Json<T>(T result, JsonTypeInfo<T> type) => Json(JsonSerializer.Serialize(result, type));

    /// <summary>Writes JSON, which escapes control characters itself.</summary>
    public void Json(string text) => output.WriteLine(text);

    /// <summary>Runs a round with a progress bar on the error stream if that is a terminal.</summary>
    public async Task<T> WithProgressAsync<T>(Func<IProgress<RoundProgress>?, Task<T>> work)
    {
        if (_progress is null)
            return await work(null);
        return await _progress.Progress().AutoClear(true).StartAsync(context => work(new Bar(context)));
    }

    // if the error stream itself fails, only the exit code can report the failure
    private void WriteError(string line)
    {
        try
        {
            error.WriteLine(line);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException || FileFailure.IsTooLarge(e))
        {
        }
    }

    private static IAnsiConsole Rich(TextWriter writer) =>
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });

    /// <summary>Shows a bar for each phase of the round.</summary>
    private sealed class Bar(ProgressContext context) : IProgress<RoundProgress>
    {
        private readonly Dictionary<string, ProgressTask> _tasks = [];

        public void Report(RoundProgress value)
        {
            if (!_tasks.TryGetValue(value.Phase, out ProgressTask? task))
                _tasks.Add(value.Phase, task = context.AddTask(value.Phase, maxValue: Math.Max(value.BytesTotal, 1)));
            task.Value = value.BytesDone;
        }
    }

    /// <summary>Stands in for a closed output. Writing to it fails, because the results would be lost.</summary>
    private sealed class ClosedWriter : TextWriter
    {
        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char value) => throw new IOException("it is closed");
    }
}
