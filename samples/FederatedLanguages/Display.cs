using System.Globalization;
using Spectre.Console;

namespace FederatedLanguages;

/// <summary>
/// Shows progress on the error stream: bars on a terminal, otherwise a line for every quarter. The standard output gets
/// only the results.
/// </summary>
internal sealed class Display
{
    private readonly ProgressContext? _bars;

    private Display(ProgressContext? bars) => _bars = bars;

    public static async Task RunAsync(Func<Display, Task> work)
    {
        if (Console.IsErrorRedirected)
        {
            await work(new Display(null));
            return;
        }

        IAnsiConsole terminal = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        await terminal.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn())
            .StartAsync(context => work(new Display(context)));
    }

    /// <summary>Begins a phase with a known number of steps.</summary>
    /// <returns>The action to call after each step, from any thread.</returns>
    public Action Begin(string phase, long steps)
    {
        if (_bars?.AddTask(phase, maxValue: steps) is { } bar)
            return () => bar.Increment(1);
        long done = 0;
        return () =>
        {
            long now = Interlocked.Increment(ref done);
            if (now * 4 / steps != (now - 1) * 4 / steps)
                Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{phase}: {now * 100 / steps} %"));
        };
    }
}
