using System.Runtime.InteropServices;

namespace FedICU;

/// <summary>Native memory aligned for the widest vectors, freed once.</summary>
internal sealed unsafe partial class NativeBuffer : IDisposable
{
    private const int Alignment = 64;
    private const int HugePage = 2 << 20;
    private const int AdviseHugePage = 14;

    public NativeBuffer(long bytes, bool clear = false)
    {
        bool huge = bytes >= 4L * HugePage;
        Pointer = (byte*)NativeMemory.AlignedAlloc(checked((nuint)Math.Max(bytes, 1)), (nuint)(huge ? HugePage : Alignment));
        // first touches of small pages cost more than the sums that are written to them; where the advice is not taken, nothing is lost
        if (huge && OperatingSystem.IsLinux())
            _ = Advise(Pointer, (nuint)bytes & ~(nuint)(HugePage - 1), AdviseHugePage);
        ByteLength = bytes;
        if (clear)
            NativeMemory.Clear(Pointer, (nuint)bytes);
        GC.AddMemoryPressure(Math.Max(bytes, 1));
    }

    public byte* Pointer { get; private set; }

    public long ByteLength { get; }

    public static long Align(long bytes) => (bytes + (Alignment - 1)) & ~(Alignment - 1L);

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    ~NativeBuffer() => Free();

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);

    private void Free()
    {
        if (Pointer is null)
            return;
        NativeMemory.AlignedFree(Pointer);
        Pointer = null;
        GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
    }
}
