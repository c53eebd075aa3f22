using System.Buffers;
using System.Runtime.InteropServices;

namespace FedICU.Memory;

/// <summary>
/// Native memory that is aligned for the widest vectors and freed once. Large memory is a region of huge pages, which
/// <see cref="RegionCache"/> takes back. The memory is not cleared.
/// </summary>
internal unsafe class NativeBuffer : IDisposable, IPinnable
{
    // bytes; the width of the widest vectors (AVX-512) and a cache line
    private const int Alignment = 64;

    private readonly bool _pressure;
    // the bytes of the region; 0 if the memory is none
    private readonly long _regionBytes;
    private nint _pointer;

    /// <summary>Allocates native memory.</summary>
    /// <param name="bytes">The number of bytes.</param>
    /// <param name="pressure">
    /// Whether the garbage collector may have to free the memory; it is then told of the size.
    /// </param>
    public NativeBuffer(long bytes, bool pressure = true)
    {
        if (bytes >= RegionCache.LeastBytes)
            (_pointer, _regionBytes, _) = RegionCache.Shared.Take(bytes);
        else
            _pointer = (nint)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), Alignment);
        (ByteLength, _pressure) = (bytes, pressure);
        AddPressure();
    }

    private NativeBuffer(nint pointer, NativeBuffer other)
    {
        (_pointer, _regionBytes, ByteLength, _pressure) = (pointer, other._regionBytes, other.ByteLength, other._pressure);
        AddPressure();
    }

    public byte* Pointer => (byte*)_pointer;

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
    public NativeBuffer Move() => new(Forget(), this);

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

    private void AddPressure()
    {
        if (_pressure)
            GC.AddMemoryPressure(Math.Max(ByteLength, 1));
    }

    private void Release()
    {
        nint pointer = Forget();
        if (pointer == 0)
            return;
        if (_regionBytes > 0)
            RegionCache.Shared.Return(new Region(pointer, _regionBytes));
        else
            NativeMemory.AlignedFree((void*)pointer);
    }

    /// <summary>Takes the memory from this buffer, so that one thread alone can free or move it.</summary>
    private nint Forget()
    {
        nint pointer = Interlocked.Exchange(ref _pointer, 0);
        if (pointer != 0 && _pressure)
            GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
        return pointer;
    }
}
