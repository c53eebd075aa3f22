using System.Runtime.InteropServices;

namespace FedICU.Cli;

/// <summary>The entry point of the tool <c>fedicu</c>.</summary>
internal static class Program
{
    // SIGXFSZ on Linux and macOS, sent by a write beyond the limit of file sizes (ulimit -f); .NET has no name for it
    private const PosixSignal FileSizeExceeded = (PosixSignal)25;

    public static int Main(string[] args) =>
        ProcessLimits.Prepare() ? RunAsync(args).GetAwaiter().GetResult() : ExitCode.Refused;

    private static async Task<int> RunAsync(string[] args)
    {
        using var cancellation = new CancellationTokenSource();
        int code = ExitCode.Interrupted;
        void Stop(PosixSignalContext context)
        {
            // the first signal cancels the work, so that no partial output is left; a second one ends the process at
            // once
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
        // ignored, so that the write itself fails and its error is reported
        using var fileSize = OperatingSystem.IsWindows()
            ? null : PosixSignalRegistration.Create(FileSizeExceeded, context => context.Cancel = true);
        int result = await CommandLine.RunAsync(args, Terminal.OfProcess(), cancellation.Token);
        return result == ExitCode.Interrupted ? code : result;
    }

    /// <summary>Runs one command line as the process does, and writes plain text to the given writers.</summary>
    public static Task<int> RunAsync(string[] args, TextWriter output, TextWriter error, CancellationToken cancellationToken = default) =>
        CommandLine.RunAsync(args, new Terminal(output, error), cancellationToken);
}
