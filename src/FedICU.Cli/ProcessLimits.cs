using System.Runtime.InteropServices;

namespace FedICU.Cli;

/// <summary>
/// Checks what the process inherited: its open standard streams, and the limit of open files. Windows is not checked.
/// The check must run before anything is loaded that needs a file handle, so it calls only the C library.
/// </summary>
internal static unsafe partial class ProcessLimits
{
    /// <summary>
    /// The smallest limit of open files. Measured: the files that the runtime, the tool and the smallest round open at
    /// once, with a reserve.
    /// </summary>
    private const int FewestFiles = 128;

    // F_GETFD of the C library
    private const int GetDescriptorFlags = 1;

    // FD_CLOEXEC of the C library
    private const int CloseOnExec = 1;

    // O_RDWR of the C library
    private const int ReadWrite = 2;

    // RLIMIT_NOFILE of Linux
    private const int OpenFiles = 7;

    private static int _closed;

    /// <summary>Whether a standard stream was open when the tool began.</summary>
    public static bool IsOpen(int stream) => (_closed & (1 << stream)) == 0;

    /// <summary>
    /// Records which standard streams are closed, and occupies their numbers so that no later file gets them. Returns
    /// false, after writing an error, if the limit of open files is too low.
    /// </summary>
    public static bool Prepare()
    {
        if (OperatingSystem.IsWindows())
            return true;
        for (int stream = 0; stream <= 2; stream++)
        {
            // an inherited stream never has this flag; the runtime's own files always do
            int flags = Flags(stream, GetDescriptorFlags);
            if (flags >= 0 && (flags & CloseOnExec) == 0)
                continue;
            _closed |= 1 << stream;
            if (flags < 0)
            {
                fixed (byte* nothing = "/dev/null\0"u8)
                    _ = Open(nothing, ReadWrite);
            }
        }

        long* limits = stackalloc long[2];
        bool known = OperatingSystem.IsLinux() && Environment.Is64BitProcess && Limits(OpenFiles, limits) == 0;
        // the limit is unsigned: negative here means larger than long.MaxValue
        if (!known || limits[0] < 0 || limits[0] >= FewestFiles)
            return true;
        if (IsOpen(2))
            WriteRefusal(limits[0]);
        return false;
    }

    private static void WriteRefusal(long limit)
    {
        ReadOnlySpan<byte> head = "fedicu: The limit of open files (ulimit -n) is "u8;
        ReadOnlySpan<byte> tail = "; at least 128 was expected.\n"u8;
        byte* line = stackalloc byte[128];
        int length = 0;
        foreach (byte letter in head)
            line[length++] = letter;
        if (limit >= 100)
            line[length++] = (byte)('0' + limit / 100);
        if (limit >= 10)
            line[length++] = (byte)('0' + limit / 10 % 10);
        line[length++] = (byte)('0' + limit % 10);
        foreach (byte letter in tail)
            line[length++] = letter;
        _ = Write(2, line, length);
    }

    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Flags(int descriptor, int command);

    [LibraryImport("libc", EntryPoint = "open")]
    private static partial int Open(byte* path, int flags);

    [LibraryImport("libc", EntryPoint = "getrlimit")]
    private static partial int Limits(int resource, long* limits);

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int descriptor, byte* bytes, nint count);
}
