using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace FedICU.Cli;

/// <summary>
/// The command <c>fedicu serve</c>: starts a service that is a program of its own, so that this tool needs none of its
/// libraries. The service gets all further arguments, and its exit code becomes the tool's.
/// </summary>
internal sealed partial class ServeCommand : FedIcuCommand
{
    private const string CommandName = "serve", Fedn = "fedn";

    /// <summary>The environment variable that names the FEDn service: a program, or a .dll for dotnet.</summary>
    private const string FednVariable = "FEDICU_FEDN";

    // POSIX fixes the number
    private const int SigTerm = 15;

    // the command of the tool package, and the program that 'dotnet publish' makes
    private static readonly string[] FednNames = ["fedicu-fedn", "FedICU.Fedn"];

    private readonly Argument<string> _service = new("SERVICE") { Description = "fedn: the function service of FEDn's combiner." };
    private readonly Argument<string[]> _arguments = new("ARGUMENTS")
    {
        Description = "What the service is started with.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    public ServeCommand(Terminal terminal)
        : base(CommandName, "Starts a service in which a framework's server lets this library aggregate.", terminal)
    {
        Add(_service);
        Add(_arguments);
    }

    public override IReadOnlyList<string> Examples =>
        ["fedicu serve fedn --FedIcu:Strategy=fedicu --FedIcu:Settings:on-unreadable=drop-client --FedIcu:Settings:quorum=2"];

    /// <summary>
    /// Separates the service's arguments from the tool's own by <c>--</c>, so that they need not be known here.
    /// </summary>
    public static string[] Separate(string[] args) =>
        args is [CommandName, var service, .. var rest] && !service.StartsWith('-') && rest is not (["--", ..] or ["--help"] or ["-h"])
            ? [CommandName, service, "--", .. rest] : args;

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string service = line.GetValue(_service)!;
        if (service != Fedn)
            throw new UsageException($"The service '{service}' is unknown; {Fedn} is known.");
        string program = Find();
        bool isAssembly = program.EndsWith(".dll", StringComparison.OrdinalIgnoreCase);
        string[] arguments = line.GetValue(_arguments) ?? [];
        // standard input, output and error are the tool's own
        var start = isAssembly
            ? new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", [program, .. arguments])
            : new ProcessStartInfo(program, arguments);
        try
        {
            using Process process = Process.Start(start)!;
            // a terminal sends its signals to both processes, but others send theirs to the tool only; on Windows the
            // console does the former, and nothing does the latter
            await using (cancellationToken.Register(() => Stop(process)))
                await process.WaitForExitAsync(CancellationToken.None);
            return process.ExitCode;
        }
        catch (Win32Exception e)
        {
            throw new RefusedException($"The service '{program}' cannot be started: {e.Message}.");
        }
    }

    private static string Find()
    {
        if (Environment.GetEnvironmentVariable(FednVariable) is { Length: > 0 } named)
        {
            return File.Exists(named) ? named : throw new RefusedException(
                $"{FednVariable} is '{named}', where there is no file; the FEDn service was expected.");
        }

        string extension = OperatingSystem.IsWindows() ? ".exe" : "";
        IEnumerable<string?> folders =
        [
            Path.GetDirectoryName(Environment.ProcessPath), AppContext.BaseDirectory,
            // an installed native tool is started by a symbolic link, which the process path has followed
            Path.GetDirectoryName(Environment.GetCommandLineArgs()[0]),
            .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator),
        ];
        IEnumerable<string> places =
            from folder in folders
            where !string.IsNullOrEmpty(folder)
            from name in FednNames
            select Path.Combine(folder, name + extension);
        return places.FirstOrDefault(File.Exists) ?? throw new RefusedException(
            $"The service '{FednNames[0]}' is neither beside this tool nor on PATH, and {FednVariable} does not name it; " +
            "'dotnet tool install --global FedICU.Fedn' installs it.");
    }

    private static void Stop(Process process)
    {
        if (!OperatingSystem.IsWindows() && !process.HasExited)
            _ = SendSignal(process.Id, SigTerm);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int process, int signal);
}
