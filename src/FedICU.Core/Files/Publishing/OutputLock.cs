using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files.Publishing;

/// <summary>
/// The exclusive right to write one file or folder. It is an operating system lock on <c>.name.fedicu-lock</c> beside
/// the entry. An existing folder is also locked by <c>.fedicu-lock</c> inside it, because containers that mount the
/// folder do not share its parent. The locks end with the process. Their files are removed while locked; a file that a
/// killed run left behind does not block anyone. Taking the lock removes the temporary files that a killed run left.
/// </summary>
internal sealed partial class OutputLock : IDisposable
{
    public const string LockEnding = ".fedicu-lock";

    // hexadecimal digits that make the name of a temporary file unique; chosen
    private const int RandomDigits = 16;

    // EWOULDBLOCK on Linux and macOS; a sharing and a lock violation on Windows.
    private static readonly int[] Busy = [11, 35, unchecked((int)0x80070020), unchecked((int)0x80070021)];

    private readonly string _entry;
    private readonly List<SafeFileHandle> _handles = [];

    private OutputLock(string entry) => _entry = entry;

    /// <summary>Takes the lock of a file or folder.</summary>
    /// <param name="entry">The full path of the file or folder. Its parent must exist.</param>
    /// <param name="place">The name of the file or folder in messages.</param>
    /// <exception cref="FedIcuException">Another run is writing there, or the lock file cannot be created.</exception>
    public static OutputLock Take(string entry, string place)
    {
        var taken = new OutputLock(entry);
        try
        {
            bool isFolder = Directory.Exists(entry), beside = false;
            if (Path.GetDirectoryName(entry) is not null)
                beside = taken.TryAdd(FilePlace.Hidden(entry, LockEnding), place, required: !isFolder);
            if (isFolder)
                taken.TryAdd(Path.Combine(entry, LockEnding), place, required: !beside);
            if (taken.IsExclusive)
                taken.RemoveTemporaries();
            return taken;
        }
        catch
        {
            taken.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Gets whether the lock excludes other runs. Some network file systems have no locks; there, files that may belong
    /// to another run are not removed.
    /// </summary>
    public bool IsExclusive { get; private set; } = true;

    /// <summary>Returns a unique path for a temporary file beside the entry.</summary>
    public string NewTemporary() => NewTemporary(_entry);

    /// <summary>Returns a unique path for a temporary file beside a file or folder.</summary>
    public static string NewTemporary(string entry) =>
        FilePlace.Hidden(entry, $".{RandomNumberGenerator.GetHexString(RandomDigits, lowercase: true)}.tmp");

    /// <summary>Releases the lock and removes its files.</summary>
    public void Dispose()
    {
        // The lock beside the entry is taken first, so it is released last.
        for (int i = _handles.Count - 1; i >= 0; i--)
            _handles[i].Dispose();
        _handles.Clear();
    }

    private bool TryAdd(string path, string place, bool required)
    {
        if (new FileInfo(path).LinkTarget is not null)
            throw new FedIcuException($"'{place}' cannot be written: its lock '{path}' is a symbolic link; remove it.");
        try
        {
            SafeFileHandle handle = Open(path);
            _handles.Add(handle);
            IsExclusive &= IsLocked(handle);
            return true;
        }
        catch (IOException e) when (Busy.Contains(e.HResult))
        {
            throw new FedIcuException($"'{place}' is being written by another run; wait until it has ended.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return required
                ? throw new FedIcuException($"'{place}' cannot be written: {FileFailure.Describe(e)}.", e)
                : false;
        }
    }

    // FileShare.None is flock on Unix. With DeleteOnClose, .NET unlinks the file while it is locked. After locking,
    // .NET checks that the path still leads to the same file.
    private static SafeFileHandle Open(string path)
    {
        try
        {
            return File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
        }
        catch (UnauthorizedAccessException) when (File.Exists(path))
        {
            // A killed run of another user left the file. Read access is enough for a lock.
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.None, FileOptions.DeleteOnClose);
        }
    }

    /// <summary>
    /// Determines whether the lock is really held. .NET continues without one if the file system has no locks or if
    /// locking is switched off.
    /// </summary>
    private static bool IsLocked(SafeFileHandle handle)
    {
        // LOCK_EX and LOCK_NB
        const int Exclusive = 2;
        const int DoNotWait = 4;
        if (OperatingSystem.IsWindows())
            return true;
        try
        {
            if (Flock(handle, Exclusive | DoNotWait) == 0)
                return true;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            return false;
        }

        int error = Marshal.GetLastPInvokeError();
        return Busy.Contains(error) ? throw new IOException("Another process holds the lock.", error) : false;
    }

    private void RemoveTemporaries()
    {
        (string head, string tail) = (Path.GetFileName(FilePlace.Hidden(_entry, ".")), ".tmp");
        try
        {
            foreach (string path in Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(_entry) ?? _entry))
            {
                ReadOnlySpan<char> name = Path.GetFileName(path.AsSpan());
                if (name.Length == head.Length + RandomDigits + tail.Length && name.StartsWith(head) && name.EndsWith(tail) &&
                    FilePlace.IsHex(name.Slice(head.Length, RandomDigits)))
                    FilePlace.Remove(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Files that cannot be listed stay; no reader opens them.
        }
    }

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Flock(SafeFileHandle file, int operation);
}
