using System.Buffers;
using System.Runtime.InteropServices;

namespace FedICU;

/// <summary>Native memory aligned for the widest vectors, freed once.</summary>
internal sealed unsafe partial class NativeBuffer : IDisposable, IPinnable
{
    private const int Alignment = 64;
    private const int HugePage = 2 << 20;
    private const int AdviseHugePage = 14;

    // some systems' C library has another name or no such call
    private static bool _advises = OperatingSystem.IsLinux();

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

    /// <summary>Lends the memory; the handle keeps it from the collector, not from <see cref="Dispose"/>.</summary>
    /// <exception cref="ObjectDisposedException">The memory has been freed, or belongs to another buffer.</exception>
    public MemoryHandle Pin(int elementIndex = 0)
    {
        ObjectDisposedException.ThrowIf(Pointer is null, this);
        return new MemoryHandle(Pointer + elementIndex, pinnable: this);
    }

    public void Unpin() { }

    /// <summary>Hands the memory to a new buffer, so that who still reads this one is told.</summary>
    public NativeBuffer Move()
    {
        var moved = new NativeBuffer(ByteLength, _capacity, _pool, (nint)Pointer);
        Forget();
        return moved;
    }

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
        if (huge && _advises)
            AdviseHugePages(pointer, bytes);
        return pointer;
    }

    private static void AdviseHugePages(byte* pointer, long bytes)
    {
        try
        {
            _ = Advise(pointer, (nuint)bytes & ~(nuint)(HugePage - 1), AdviseHugePage);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            _advises = false;
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);

    private void Free()
    {
        if (Pointer is null)
            return;
        NativeMemory.AlignedFree(Pointer);
        Forget();
    }

    private void Forget()
    {
        Pointer = null;
        if (_pool is null)
            GC.RemoveMemoryPressure(_capacity);
    }
}
