using System.Buffers;
using System.Runtime.InteropServices;

namespace FedICU.Memory;

/// <summary>Native memory that is aligned for the widest vectors and freed once.</summary>
internal unsafe partial class NativeBuffer : IDisposable, IPinnable
{
    // bytes; the width of the widest vectors (AVX-512) and a cache line
    private const int Alignment = 64;

    // bytes; a huge page of x86-64 and, usually, 64-bit Arm
    private const int HugePage = 2 << 20;

    // MADV_HUGEPAGE
    private const int AdviseHugePage = 14;

    // Becomes false if the C library has another name or lacks the call.
    private static bool _advises = OperatingSystem.IsLinux();

    private readonly bool _pressure;

    /// <summary>Allocates native memory.</summary>
    /// <param name="bytes">The number of bytes.</param>
    /// <param name="pressure">
    /// Whether the garbage collector may have to free the memory; it is then told of the size.
    /// </param>
    public NativeBuffer(long bytes, bool pressure = true)
    {
        Pointer = Allocate(Math.Max(bytes, 1));
        (ByteLength, _pressure) = (bytes, pressure);
        AddPressure();
    }

    private NativeBuffer(byte* pointer, long bytes, bool pressure)
    {
        Pointer = pointer;
        (ByteLength, _pressure) = (bytes, pressure);
        AddPressure();
    }

    public byte* Pointer { get; private set; }

    public long ByteLength { get; }

    /// <summary>
    /// Lends the memory. The handle protects it from the garbage collector, but not from <see cref="Dispose"/>.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The memory has been freed or moved to another buffer.</exception>
    public MemoryHandle Pin(long offset)
    {
        ObjectDisposedException.ThrowIf(Pointer is null, this);
        return new MemoryHandle(Pointer + offset, pinnable: this);
    }

    MemoryHandle IPinnable.Pin(int elementIndex) => Pin(elementIndex);

    public void Unpin() { }

    /// <summary>Moves the memory to a new buffer. Reading through this buffer then throws.</summary>
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

    /// <summary>Returns the memory to a pool. Returns false if it must be freed.</summary>
    protected virtual bool TryKeep() => false;

    ~NativeBuffer() => Release();

    private static byte* Allocate(long bytes)
    {
        bool huge = bytes >= 4L * HugePage;
        byte* pointer = (byte*)NativeMemory.AlignedAlloc(checked((nuint)bytes), (nuint)(huge ? HugePage : Alignment));
        // Faulting in small pages costs more than the sums written to them. Nothing is lost if the kernel ignores the
        // advice.
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

    private void AddPressure()
    {
        if (_pressure)
            GC.AddMemoryPressure(Math.Max(ByteLength, 1));
    }

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
