using System.Runtime.InteropServices;

namespace FedICU;

/// <summary>Native memory aligned for the widest vectors, freed once.</summary>
internal sealed unsafe partial class NativeBuffer : IDisposable
{
    private const int Alignment = 64;
    private const int HugePage = 2 << 20;
    private const int AdviseHugePage = 14;

    private readonly NativePool? _pool;
    private readonly long _capacity;

    public NativeBuffer(long bytes)
        : this(bytes, Math.Max(bytes, 1), null, 0)
    {
    }

    /// <summary>Memory of a pool, given back to it by <see cref="Dispose"/>; allocated where the pool has none.</summary>
    internal NativeBuffer(long bytes, long capacity, NativePool? pool, nint kept)
    {
        (ByteLength, _capacity, _pool) = (bytes, capacity, pool);
        Pointer = kept != 0 ? (byte*)kept : Allocate(capacity);
        // a pool's memory is given back by the steps that took it; what a caller holds may be left to the collector
        if (pool is null)
            GC.AddMemoryPressure(capacity);
    }

    public byte* Pointer { get; private set; }

    public long ByteLength { get; }

    public static long Align(long bytes) => (bytes + (Alignment - 1)) & ~(Alignment - 1L);

    public void Dispose()
    {
        if (Pointer is not null && _pool is not null && _pool.TryKeep((nint)Pointer, _capacity))
            Pointer = null;
        Free();
        GC.SuppressFinalize(this);
    }

    ~NativeBuffer() => Free();

    private static byte* Allocate(long bytes)
    {
        bool huge = bytes >= 4L * HugePage;
        byte* pointer = (byte*)NativeMemory.AlignedAlloc(checked((nuint)bytes), (nuint)(huge ? HugePage : Alignment));
        // first touches of small pages cost more than the sums that are written to them; where the advice is not taken, nothing is lost
        if (huge && OperatingSystem.IsLinux())
            _ = Advise(pointer, (nuint)bytes & ~(nuint)(HugePage - 1), AdviseHugePage);
        return pointer;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);

    private void Free()
    {
        if (Pointer is null)
            return;
        NativeMemory.AlignedFree(Pointer);
        Pointer = null;
        if (_pool is null)
            GC.RemoveMemoryPressure(_capacity);
    }
}
