using System.Diagnostics;

namespace FedICU.Cli;

/// <summary>Starts this tool again in a process of its own.</summary>
internal static class ToolProcess
{
    private const string Tool = "fedicu";

    /// <summary>
    /// Makes the start of a command line: by this process's own program if that is the tool (the native build, or the
    /// managed one by its launcher), otherwise by .NET's host with the tool's assembly (<c>dotnet fedicu.dll</c>).
    /// </summary>
    public static ProcessStartInfo Create(IEnumerable<string> args)
    {
        string? program = Environment.ProcessPath;
        if (!ManagedTool.IsThis || Path.GetFileNameWithoutExtension(program) == Tool)
            return new ProcessStartInfo(program!, args);
        string host = Path.GetFileNameWithoutExtension(program) == "dotnet" ? program! : "dotnet";
        return new ProcessStartInfo(host, args.Prepend(Path.Combine(AppContext.BaseDirectory, Tool + ".dll")));
    }
}
