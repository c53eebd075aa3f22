using System.Globalization;
using Spectre.Console;

namespace FederatedLanguages;

/// <summary>Progress on the error stream: bars on a terminal, else a line for every quarter. The output has the results alone.</summary>
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
        await terminal.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn())
            .StartAsync(context => work(new Display(context)));
    }

    /// <summary>Begins a phase of so many steps.</summary>
    /// <returns>To be called at each, from any thread.</returns>
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
