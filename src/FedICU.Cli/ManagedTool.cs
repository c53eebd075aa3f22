using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedICU.Cli;

/// <summary>
/// The tool has two builds. The native one starts at once, but has neither GPUs nor plug-ins, because both need code
/// that is made at run time. The managed one has everything. The native build runs the managed build beside it where a
/// command needs more than it has.
/// </summary>
internal static unsafe partial class ManagedTool
{
    // the folder beside the native tool, where pack-native.sh puts the managed one
    private const string Folder = "managed";

    /// <summary>
    /// Gets whether this is the managed build. A branch that needs it is absent from the native build.
    /// </summary>
    [FeatureSwitchDefinition("System.Runtime.CompilerServices.RuntimeFeature.IsDynamicCodeSupported")]
    public static bool IsThis => RuntimeFeature.IsDynamicCodeSupported;

    /// <summary>
    /// Runs a command line by the managed tool, with the standard streams and signals of this process. On Unix it
    /// replaces this process and returns only if that fails.
    /// </summary>
    /// <param name="args">The command line.</param>
    /// <param name="need">What the native tool lacks, for the error.</param>
    /// <returns>The exit code.</returns>
    /// <exception cref="RefusedException">There is no managed tool, or it cannot be started.</exception>
    public static int Run(string[] args, string need)
    {
        string file = Path.Combine(AppContext.BaseDirectory, Folder, OperatingSystem.IsWindows() ? "fedicu.exe" : "fedicu");
        if (!File.Exists(file))
        {
            throw new RefusedException(
                $"{need} needs the managed build of fedicu, which is not at '{file}'; install the tool as docs/command-line.md shows.");
        }

        if (!OperatingSystem.IsWindows())
        {
            string reason = Marshal.GetPInvokeErrorMessage(Replace(file, args));
            throw new RefusedException($"The managed build '{file}' cannot be started: {reason}.");
        }

        // both processes receive Ctrl+C; this one waits for the other's end
        using Process process = Process.Start(new ProcessStartInfo(file, args) { UseShellExecute = false })!;
        process.WaitForExit();
        return process.ExitCode;
    }

    /// <summary>Replaces the program of this process; returns the error's number if that fails.</summary>
    private static int Replace(string file, string[] args)
    {
        string[] words = [file, .. args];
        byte** vector = (byte**)NativeMemory.AllocZeroed((nuint)words.Length + 1, (nuint)sizeof(byte*));
        for (int i = 0; i < words.Length; i++)
            vector[i] = (byte*)Marshal.StringToCoTaskMemUTF8(words[i]);
        _ = Execute(vector[0], vector);
        return Marshal.GetLastPInvokeError();
    }

    // the runtime has set its own handling of signals; execv resets handlers, and keeps the environment
    [LibraryImport("libc", EntryPoint = "execv", SetLastError = true)]
    private static partial int Execute(byte* path, byte** arguments);
}
