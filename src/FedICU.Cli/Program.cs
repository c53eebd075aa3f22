using System.Runtime.InteropServices;

namespace FedICU.Cli;

/// <summary>The tool <c>fedicu</c>.</summary>
internal static class Program
{
    // a write beyond the limit of a file's size (ulimit -f) sends it, on Linux and macOS; .NET has no name for it
    private const PosixSignal FileSizeExceeded = (PosixSignal)25;

    public static int Main(string[] args) => ProcessLimits.Prepare() ? RunAsync(args).GetAwaiter().GetResult() : ExitCode.Refused;

    private static async Task<int> RunAsync(string[] args)
    {
        using var cancellation = new CancellationTokenSource();
        int code = ExitCode.Interrupted;
        void Stop(PosixSignalContext context)
        {
            // the first signal ends the work in order, so that no half output is left; a second one ends the process at once
            context.Cancel = !cancellation.IsCancellationRequested;
            code = context.Signal switch
            {
                PosixSignal.SIGTERM => ExitCode.Terminated,
                PosixSignal.SIGHUP => ExitCode.HungUp,
                _ => code,
            };
            cancellation.Cancel();
        }

        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
        // the write fails then, and says why
        using var fileSize = OperatingSystem.IsWindows()
            ? null : PosixSignalRegistration.Create(FileSizeExceeded, context => context.Cancel = true);
        int result = await CommandLine.RunAsync(args, Terminal.OfProcess(), cancellation.Token);
        return result == ExitCode.Interrupted ? code : result;
    }

    /// <summary>Runs one command line as the process would, plain, into the writers given.</summary>
    public static Task<int> RunAsync(string[] args, TextWriter output, TextWriter error, CancellationToken cancellationToken = default) =>
        CommandLine.RunAsync(args, new Terminal(output, error), cancellationToken);
}
