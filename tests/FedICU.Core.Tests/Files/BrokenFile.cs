using System.Runtime.InteropServices;

namespace FedICU.Tests.Files;

/// <summary>
/// Makes writes to a file that this process has open fail as on a full disk, until it is disposed. Linux only.
/// </summary>
internal sealed partial class BrokenFile : IDisposable
{
    private readonly int _descriptor;
    private readonly int _whole;

    private BrokenFile(int descriptor)
    {
        (_descriptor, _whole) = (descriptor, dup(descriptor));
        // every write to this device fails with ENOSPC, and its length cannot be set
        using FileStream full = File.OpenWrite("/dev/full");
        Assert.That(dup2((int)full.SafeFileHandle.DangerousGetHandle(), descriptor), Is.EqualTo(descriptor));
    }

    /// <summary>Breaks the file; ignores the test where the system has no such device.</summary>
    public static BrokenFile Break(string path)
    {
        if (!OperatingSystem.IsLinux())
            Assert.Ignore("needs /dev/full");
        string open = Directory.GetFiles("/proc/self/fd").Single(link => File.ResolveLinkTarget(link, false)?.FullName == path);
        return new BrokenFile(int.Parse(Path.GetFileName(open), System.Globalization.CultureInfo.InvariantCulture));
    }

    public void Dispose()
    {
        _ = dup2(_whole, _descriptor);
        _ = close(_whole);
    }

    [LibraryImport("libc")]
    private static partial int dup(int descriptor);

    [LibraryImport("libc")]
    private static partial int dup2(int from, int to);

    [LibraryImport("libc")]
    private static partial int close(int descriptor);
}
