using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>
/// Calls that advise the Linux kernel about file access, or query its limits. On other systems they do nothing; only
/// speed is lost.
/// </summary>
internal static partial class FileAdvice
{
    // Bytes before the advised range that are advised again. The page cache drops only blocks (folios, up to 2 MiB)
    // that lie wholly inside the range. A block that two calls cover in part is therefore dropped by the second. Chosen
    // as twice the largest block.
    private const int Overlap = 4 << 20;

    // POSIX_FADV_DONTNEED
    private const int DropFromCache = 4;

    // SYNC_FILE_RANGE_WRITE
    private const int StartWriteback = 2;

    // RLIMIT_FSIZE and RLIMIT_NOFILE
    private const int FileSize = 1;
    private const int OpenFiles = 7;

    // The numbers and struct sizes below are those of 64-bit Linux. Some systems' C library has another name or lacks a
    // call.
    private static bool _isAvailable = OperatingSystem.IsLinux() && Environment.Is64BitProcess;

    /// <summary>Gets the number of handles that the process may have open, or null if it is unknown.</summary>
    public static long? HandleLimit => Limit(OpenFiles) is { } limit ? Math.Min(limit, int.MaxValue) : null;

    /// <summary>Gets the largest file, in bytes, that the process may write, or null if it is unknown.</summary>
    public static long? LargestFile => Limit(FileSize);

    /// <summary>Tells the kernel that these bytes, and those shortly before them, will not be read again.</summary>
    public static void Forget(SafeFileHandle file, long offset, long length)
    {
        long from = Math.Max(offset - Overlap, 0);
        TryCall(() => Advise(file, from, offset + length - from, DropFromCache));
    }

    /// <summary>Starts writing a file to the disk, so that the final flush has less to wait for.</summary>
    public static void BeginWriting(SafeFileHandle file) => TryCall(() => SyncRange(file, 0, 0, StartWriteback));

    private static long? Limit(int resource)
    {
        Limits limits = default;
        return TryCall(() => GetLimits(resource, out limits)) == 0 ? (long)Math.Min(limits.Soft, long.MaxValue) : null;
    }

    private static int TryCall(Func<int> call)
    {
        try
        {
            return _isAvailable ? call() : -1;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            _isAvailable = false;
        }
        catch (ObjectDisposedException)
        {
            // Another thread has closed the file, so there is nothing left to advise.
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
