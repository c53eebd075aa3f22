using System.Buffers;
using System.Runtime.InteropServices;

namespace FedICU.Memory;

/// <summary>Native memory aligned for the widest vectors, freed once.</summary>
internal unsafe partial class NativeBuffer : IDisposable, IPinnable
{
    private const int Alignment = 64;
    private const int HugePage = 2 << 20;
    private const int AdviseHugePage = 14;

    // some systems' C library has another name or no such call
    private static bool _advises = OperatingSystem.IsLinux();

    private readonly bool _pressure;

    /// <summary>Allocates.</summary>
    /// <param name="bytes">How much.</param>
    /// <param name="pressure">Whether it may be left to the collector, which then counts it.</param>
    public NativeBuffer(long bytes, bool pressure = true)
        : this(Allocate(Math.Max(bytes, 1)), bytes, pressure)
    {
    }

    private NativeBuffer(byte* pointer, long bytes, bool pressure)
    {
        Pointer = pointer;
        (ByteLength, _pressure) = (bytes, pressure);
        if (pressure)
            GC.AddMemoryPressure(Math.Max(bytes, 1));
    }

    public byte* Pointer { get; private set; }

    public long ByteLength { get; }

    /// <summary>Lends the memory; the handle keeps it from the collector, not from <see cref="Dispose"/>.</summary>
    /// <exception cref="ObjectDisposedException">The memory has been freed, or belongs to another buffer.</exception>
    public MemoryHandle Pin(long offset)
    {
        ObjectDisposedException.ThrowIf(Pointer is null, this);
        return new MemoryHandle(Pointer + offset, pinnable: this);
    }

    MemoryHandle IPinnable.Pin(int elementIndex) => Pin(elementIndex);

    public void Unpin() { }

    /// <summary>Hands the memory to a new buffer, so that who still reads this one is told.</summary>
    public NativeBuffer Move()
    {
        var moved = new NativeBuffer(Pointer, ByteLength, _pressure);
        Forget();
        return moved;
    }

    public static long Align(long bytes) => (bytes + (Alignment - 1)) & ~(Alignment - 1L);

    public void Dispose()
    {
        if (TryKeep())
            return;
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Keeps the memory for another use.</summary>
    protected virtual bool TryKeep() => false;

    ~NativeBuffer() => Release();

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

    private void Release()
    {
        if (Pointer is null)
            return;
        NativeMemory.AlignedFree(Pointer);
        Forget();
    }

    private void Forget()
    {
        Pointer = null;
        if (_pressure)
            GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
    }
}
