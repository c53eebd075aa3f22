using System.Runtime.InteropServices;

namespace FedICU.Cli;

/// <summary>The tool <c>fedicu</c>.</summary>
internal static class Program
{
    public static async Task<int> Main(string[] args)
    {
        using var cancellation = new CancellationTokenSource();
        int code = ExitCode.Interrupted;
        void Stop(PosixSignalContext context)
        {
            // the first signal ends the work in order, so that no half output is left; a second one ends the process at once
            context.Cancel = !cancellation.IsCancellationRequested;
            if (context.Signal == PosixSignal.SIGTERM)
                code = ExitCode.Terminated;
            cancellation.Cancel();
        }

        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        int result = await CommandLine.RunAsync(args, Terminal.OfProcess(), cancellation.Token);
        return result == ExitCode.Interrupted ? code : result;
    }

    /// <summary>Runs one command line as the process would, plain, into the writers given.</summary>
    public static Task<int> RunAsync(string[] args, TextWriter output, TextWriter error, CancellationToken cancellationToken = default) =>
        CommandLine.RunAsync(args, new Terminal(output, error), cancellationToken);
}
