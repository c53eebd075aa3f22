using System.Runtime.InteropServices;

namespace FedICU.Cli;

/// <summary>
/// What the process was given: its open streams, and how many files it may open. On Unix; elsewhere all is taken to be well. It runs before
/// anything is loaded that needs
/// a free file handle, so it calls the C library and nothing else.
/// </summary>
internal static unsafe partial class ProcessLimits
{
    /// <summary>The files that the runtime, the tool and the smallest round have open at once, measured, with some to spare.</summary>
    private const int FewestFiles = 128;

    // numbers of the C library; that of the limit is Linux's
    private const int GetDescriptorFlags = 1, CloseOnExec = 1, ReadWrite = 2, OpenFiles = 7;

    private static int _closed;

    /// <summary>Whether a standard stream was open when the tool began.</summary>
    public static bool IsOpen(int stream) => (_closed & (1 << stream)) == 0;

    /// <summary>
    /// Notes which streams are closed, and keeps their numbers from later files; false, after a sentence, where too few files may be open.
    /// </summary>
    public static bool Prepare()
    {
        if (OperatingSystem.IsWindows())
            return true;
        for (int stream = 0; stream <= 2; stream++)
        {
            // no stream that came from the parent process has this flag; all files of the runtime have it
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
        // a negative number is one above all others
        if (!known || limits[0] < 0 || limits[0] >= FewestFiles)
            return true;
        if (IsOpen(2))
            Say(limits[0]);
        return false;
    }

    private static void Say(long limit)
    {
        ReadOnlySpan<byte> head = "fedicu: The limit of open files (ulimit -n) is "u8, tail = "; at least 128 was expected.\n"u8;
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
