using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files.Publishing;

/// <summary>
/// The right to write one file or folder: the operating system's lock on <c>.name.fedicu-lock</c> beside it, and for a folder that exists
/// also on <c>.fedicu-lock</c> inside, as
/// a mounted folder has other neighbours in each container. The locks end with the process. Their files are removed while they are locked;
/// one that a killed run left refuses nobody.
/// Taking the lock removes the temporaries that a killed run left.
/// </summary>
internal sealed partial class OutputLock : IDisposable
{
    public const string LockEnding = ".fedicu-lock";
    private const int RandomDigits = 16;

    // Linux's EWOULDBLOCK, that of macOS, and two of Windows: a sharing and a lock violation
    private static readonly int[] Busy = [11, 35, unchecked((int)0x80070020), unchecked((int)0x80070021)];

    private readonly string _entry;
    private readonly List<SafeFileHandle> _handles = [];

    private OutputLock(string entry) => _entry = entry;

    /// <summary>Takes the lock of a file or folder.</summary>
    /// <param name="entry">Where it lies: a full path whose folder exists.</param>
    /// <param name="place">What messages call it.</param>
    /// <exception cref="FedIcuException">Another run writes there, or the lock's file cannot be created.</exception>
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
    /// Whether the file system keeps others out. Some network file systems have no locks; there nothing that might be another run's is
    /// removed.
    /// </summary>
    public bool IsExclusive { get; private set; } = true;

    /// <summary>A path for a temporary beside the entry; no other has it.</summary>
    public string NewTemporary() => NewTemporary(_entry);

    /// <summary>A path for a temporary beside a file or folder; no other has it.</summary>
    public static string NewTemporary(string entry) =>
        FilePlace.Hidden(entry, $".{RandomNumberGenerator.GetHexString(RandomDigits, lowercase: true)}.tmp");

    /// <summary>Ends the lock and removes its files.</summary>
    public void Dispose()
    {
        // the one beside is taken first, so it goes last
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
            return !required ? false : throw new FedIcuException($"'{place}' cannot be written: {FileFailure.Describe(e)}.", e);
        }
    }

    // an exclusive share is flock on Unix; with DeleteOnClose .NET unlinks the file under the lock, and after locking checks that the path
    // still leads to the same file
    private static SafeFileHandle Open(string path)
    {
        try
        {
            return File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
        }
        catch (UnauthorizedAccessException) when (File.Exists(path))
        {
            // left by another user's killed run: reading suffices for a lock
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.None, FileOptions.DeleteOnClose);
        }
    }

    /// <summary>
    /// Whether the lock is really held: .NET goes on without one where the file system has none, or where locks are switched off.
    /// </summary>
    private static bool IsLocked(SafeFileHandle handle)
    {
        const int Exclusive = 2, DoNotWait = 4;
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
        return Busy.Contains(error) ? throw new IOException("The lock is another's.", error) : false;
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
            // what cannot be listed stays; nothing reads it
        }
    }

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Flock(SafeFileHandle file, int operation);
}
