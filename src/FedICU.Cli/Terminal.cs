using System.Text;
using FedICU.Files;
using Spectre.Console;

namespace FedICU.Cli;

/// <summary>Where the tool writes: results to the output, sentences and progress to the error stream. Colours, boxes and bars only for a person's terminal.</summary>
internal sealed class Terminal(TextWriter output, TextWriter error)
{
    private IAnsiConsole? _rich, _progress;

    public TextWriter Output => output;

    public TextWriter Error => error;

    /// <summary>
    /// The process's own streams, each rich where it is a terminal. One that was closed before the tool began is never touched: its number
    /// may be another file's.
    /// </summary>
    public static Terminal OfProcess() => new(
        ProcessLimits.IsOpen(1) ? Console.Out : new ClosedWriter(), ProcessLimits.IsOpen(2) ? Console.Error : TextWriter.Null)
    {
        _rich = !ProcessLimits.IsOpen(1) || Console.IsOutputRedirected ? null : Rich(Console.Out),
        _progress = !ProcessLimits.IsOpen(2) || Console.IsErrorRedirected ? null : Rich(Console.Error),
    };

    /// <summary>
    /// The stream that a path stands for, null where it stands for none. Opened again by its name, a redirected one would be written from
    /// its start.
    /// </summary>
    public TextWriter? Named(string path) => Path.GetFullPath(path) switch
    {
        "/dev/stdout" or "/dev/fd/1" or "/proc/self/fd/1" => output,
        "/dev/stderr" or "/dev/fd/2" or "/proc/self/fd/2" => error,
        _ => null,
    };

    public void Line(string text = "") => output.WriteLine(Text.Clean(text));

    /// <summary>A line that stands out: good news green, bad news red.</summary>
    public void Verdict(string text, bool good)
    {
        if (_rich is null)
            Line(text);
        else
            _rich.MarkupLineInterpolated($"[{(good ? "green" : "red")}]{Text.Clean(text)}[/]");
    }

    /// <summary>The one line of a failure.</summary>
    public void Fail(string sentence) => Tell("fedicu: " + Text.Clean(sentence));

    /// <summary>A line that does not end the command.</summary>
    public void Warn(string sentence) => Tell("fedicu: warning: " + Text.Clean(sentence));

    public void Table(ResultTable table)
    {
        if (_rich is null)
            table.WriteTo(output);
        else
            _rich.Write(table.ToRich());
    }

    /// <summary>Runs a round with a bar on the error stream where that is a terminal.</summary>
    public async Task<T> WithProgressAsync<T>(Func<IProgress<RoundProgress>?, Task<T>> work)
    {
        if (_progress is null)
            return await work(null);
        return await _progress.Progress().AutoClear(true).StartAsync(context => work(new Bar(context)));
    }

    // where the error stream itself fails, nobody is left to be told; the exit code says it
    private void Tell(string line)
    {
        try
        {
            error.WriteLine(line);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException || FileFailure.IsTooLarge(e))
        {
        }
    }

    private static IAnsiConsole Rich(TextWriter writer) => AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });

    /// <summary>A bar for each phase of the round.</summary>
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

    /// <summary>A closed output: results that go there are lost, which is a failure.</summary>
    private sealed class ClosedWriter : TextWriter
    {
        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char value) => throw new IOException("it is closed");
    }
}
