using System.Runtime.InteropServices;

namespace FedICU;

/// <summary>Native memory aligned for the widest vectors, freed once.</summary>
internal sealed unsafe class NativeBuffer : IDisposable
{
    private const int Alignment = 64;

    public NativeBuffer(long bytes, bool clear = false)
    {
        Pointer = (byte*)NativeMemory.AlignedAlloc(checked((nuint)Math.Max(bytes, 1)), Alignment);
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

    private void Free()
    {
        if (Pointer is null)
            return;
        NativeMemory.AlignedFree(Pointer);
        Pointer = null;
        GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
    }
}
