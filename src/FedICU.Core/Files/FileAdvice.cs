using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>What the system is told of files, and asked. Where it does not listen nothing is lost but speed.</summary>
internal static partial class FileAdvice
{
    // the system keeps pages in blocks of up to 2 MiB and drops only those that lie in the range whole: what a block's first part left is dropped with its last
    private const int LargestFolio = 4 << 20;

    private const int DontNeed = 4, StartWriteback = 2, FileSize = 1, OpenFiles = 7;

    // numbers and sizes are those of 64-bit Linux; some systems' C library has another name or no such call
    private static bool _listens = OperatingSystem.IsLinux() && Environment.Is64BitProcess;

    /// <summary>How many handles the process may have, null where that is not known.</summary>
    public static long? HandleLimit => Limit(OpenFiles) is { } limit ? Math.Min(limit, int.MaxValue) : null;

    /// <summary>How many bytes a file may have that the process writes, null where that is not known.</summary>
    public static long? LargestFile => Limit(FileSize);

    /// <summary>The pages of these bytes may go: they will not be read again. So may what lies shortly before, which was read earlier.</summary>
    public static void Forget(SafeFileHandle file, long offset, long length)
    {
        long from = Math.Max(offset - LargestFolio, 0);
        Say(() => Advise(file, from, offset + length - from, DontNeed));
    }

    /// <summary>The disk may begin with these bytes, so that they need not be waited for at the end.</summary>
    public static void BeginWriting(SafeFileHandle file, long offset, long length) => Say(() => SyncRange(file, offset, length, StartWriteback));

    private static long? Limit(int resource)
    {
        Limits limits = default;
        return Say(() => GetLimits(resource, out limits)) == 0 ? (long)Math.Min(limits.Soft, long.MaxValue) : null;
    }

    private static int Say(Func<int> call)
    {
        try
        {
            return _listens ? call() : -1;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            _listens = false;
        }
        catch (ObjectDisposedException)
        {
            // another thread has closed the file: there is nothing to advise
        }

        return -1;
    }

    private struct Limits
    {
        public ulong Soft;
        public ulong Hard;
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "sync_file_range")]
    private static partial int SyncRange(SafeFileHandle file, long offset, long length, uint flags);

    [LibraryImport("libc", EntryPoint = "getrlimit")]
    private static partial int GetLimits(int resource, out Limits limits);
}
