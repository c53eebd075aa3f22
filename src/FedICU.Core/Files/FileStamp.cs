using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>
/// What tells that a file was changed: its identity, length, and the times of its last modification and last change of status.
/// </summary>
/// <remarks>
/// The change time, which no program can set, is known on Linux only. It also moves when a link to the file is made or removed, so it
/// counts only while
/// the number of links stays: a file that was replaced by a rename still has its bytes for those that have it open. Writes through a memory
/// mapping show once the system has written them back.
/// </remarks>
internal readonly partial record struct FileStamp(
    long Length, DateTime Written, long ChangedSeconds = 0, uint ChangedNanoseconds = 0, ulong Inode = 0, uint Links = 0)
{
    private const int EmptyPath = 0x1000, BasicStats = 0x7ff;

    private static bool _hasStatx = OperatingSystem.IsLinux();

    /// <summary>The stamp of an open file.</summary>
    /// <exception cref="InvalidModelException">The system does not tell.</exception>
    public static FileStamp Of(SafeFileHandle handle, string path)
    {
        var stamp = new FileStamp(ModelFile.LengthOf(handle, path), ModelFile.WrittenAt(handle, path));
        if (!TryStatx(handle, out Statx status))
            return stamp;
        return stamp with
        {
            ChangedSeconds = status.ChangedSeconds,
            ChangedNanoseconds = status.ChangedNanoseconds,
            Inode = status.Inode,
            Links = status.Links,
        };
    }

    /// <summary>Why a file with this stamp is not as it was, in a sentence; null where it is.</summary>
    /// <param name="now">Its stamp now.</param>
    /// <param name="path">What the sentence calls the file.</param>
    public string? DescribeChange(FileStamp now, string path)
    {
        bool touched = (ChangedSeconds, ChangedNanoseconds) != (now.ChangedSeconds, now.ChangedNanoseconds) && Links == now.Links;
        if ((Length, Written, Inode) == (now.Length, now.Written, now.Inode) && !touched)
            return null;
        string before = string.Create(CultureInfo.InvariantCulture, $"it had {Length} bytes, written at {Written:O}");
        string after = string.Create(CultureInfo.InvariantCulture, $"and now has {now.Length}, written at {now.Written:O}");
        return $"'{path}' was changed or replaced while it was read: {before}, {after}.";
    }

    private static bool TryStatx(SafeFileHandle handle, out Statx status)
    {
        status = default;
        try
        {
            return _hasStatx && GetStatus(handle, "", EmptyPath, BasicStats, out status) == 0;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            return _hasStatx = false;
        }
    }

    // the kernel's struct statx, the same on every architecture
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Statx
    {
        [FieldOffset(16)]
        public uint Links;
        [FieldOffset(32)]
        public ulong Inode;
        [FieldOffset(96)]
        public long ChangedSeconds;
        [FieldOffset(104)]
        public uint ChangedNanoseconds;
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int GetStatus(SafeFileHandle folder, string path, int flags, uint mask, out Statx status);
}
