using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>
/// The properties that reveal a change to a file: its identity, its length, and the times of its last modification and
/// last status change.
/// </summary>
/// <remarks>
/// The status change time is available on Linux only; no program can set it. It also moves when a hard link to the file
/// is created or removed. It is therefore compared only if the number of links is unchanged. A file that was replaced
/// by a rename keeps its bytes for readers that have it open. Writes through a memory mapping become visible once the
/// kernel has written them back.
/// </remarks>
internal readonly partial record struct FileStamp(
    long Length, DateTime Written, long ChangedSeconds = 0, uint ChangedNanoseconds = 0, ulong Inode = 0, uint Links = 0)
{
    // AT_EMPTY_PATH: the status of the open file itself
    private const int EmptyPath = 0x1000;

    // STATX_BASIC_STATS
    private const int BasicStats = 0x7ff;

    private static bool _hasStatx = OperatingSystem.IsLinux();

    /// <summary>Reads the stamp of an open file.</summary>
    /// <exception cref="InvalidModelException">The operating system cannot report the file's properties.</exception>
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

    /// <summary>
    /// Describes how the file has changed since this stamp was taken, in a sentence, or returns null if it has not.
    /// </summary>
    /// <param name="now">The file's current stamp.</param>
    /// <param name="path">The name of the file in the sentence.</param>
    public string? DescribeChange(FileStamp now, string path)
    {
        bool touched = (ChangedSeconds, ChangedNanoseconds) != (now.ChangedSeconds, now.ChangedNanoseconds) && Links == now.Links;
        if (HasSameContentStamp(now) && !touched)
            return null;
        string before = string.Create(CultureInfo.InvariantCulture, $"it had {Length} bytes, written at {Written:O}");
        string after = string.Create(CultureInfo.InvariantCulture, $"and now has {now.Length}, written at {now.Written:O}");
        return $"'{path}' was changed or replaced while it was read: {before}, {after}.";
    }

    /// <summary>
    /// Whether identity, length and modification time are equal. The status change time and the number of links may
    /// differ.
    /// </summary>
    /// <param name="now">The file's current stamp.</param>
    public bool HasSameContentStamp(FileStamp now) => (Length, Written, Inode) == (now.Length, now.Written, now.Inode);

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

    // The kernel's struct statx, which has the same layout on every architecture.
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
