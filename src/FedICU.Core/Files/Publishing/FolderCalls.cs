using System.Runtime.InteropServices;

namespace FedICU.Files.Publishing;

/// <summary>
/// What .NET has no call for: two folders that change places in one step, hard links, and flushing a folder's entries. On 64-bit Linux;
/// false elsewhere.
/// </summary>
internal static partial class FolderCalls
{
    private const int CurrentFolder = -100, CloseOnExec = 0x80000;
    private const uint Exchange = 2;

    private static readonly bool IsKnownSystem = OperatingSystem.IsLinux() && Environment.Is64BitProcess;

    /// <summary>Two paths change places in one step; false where the system or the file system cannot.</summary>
    public static bool TryExchange(string a, string b) => Succeeds(() => RenameAt(CurrentFolder, a, CurrentFolder, b, Exchange));

    /// <summary>A second name for a file; a symbolic link is linked itself.</summary>
    public static bool TryLink(string existing, string name) => Succeeds(() => Link(existing, name));

    /// <summary>
    /// Brings the names in a folder to the disk, so that after a loss of power no later rename is there without an earlier one.
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
