using System.Runtime.InteropServices;

namespace FedICU.Files.Publishing;

/// <summary>
/// System calls that .NET does not offer: swapping two folders in one step, hard links, and flushing a folder's
/// entries. They work on 64-bit Linux and return false elsewhere.
/// </summary>
internal static partial class FolderCalls
{
    // AT_FDCWD: relative paths start at the working folder
    private const int CurrentFolder = -100;

    // O_CLOEXEC
    private const int CloseOnExec = 0x80000;

    // RENAME_EXCHANGE
    private const uint Exchange = 2;

    private static readonly bool IsKnownSystem = OperatingSystem.IsLinux() && Environment.Is64BitProcess;

    /// <summary>
    /// Swaps two paths in one atomic step. Returns false if the operating system or the file system cannot.
    /// </summary>
    public static bool TryExchange(string a, string b) => Succeeds(() => RenameAt(CurrentFolder, a, CurrentFolder, b, Exchange));

    /// <summary>Creates a hard link to a file. A symbolic link is linked itself, not its target.</summary>
    public static bool TryLink(string existing, string name) => Succeeds(() => Link(existing, name));

    /// <summary>
    /// Flushes a folder's entries to the disk, so that after a power failure no later rename is visible without an
    /// earlier one.
    /// </summary>
    public static void Flush(string folder) => Succeeds(() =>
    {
        int descriptor = Open(folder, CloseOnExec);
        return descriptor < 0 ? -1 : Sync(descriptor) | Close(descriptor);
    });

    private static bool Succeeds(Func<int> call)
    {
        try
        {
            return IsKnownSystem && call() == 0;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            return false;
        }
    }

    [LibraryImport("libc", EntryPoint = "renameat2", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameAt(int oldFolder, string old, int newFolder, string name, uint flags);

    [LibraryImport("libc", EntryPoint = "link", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string existing, string name);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
