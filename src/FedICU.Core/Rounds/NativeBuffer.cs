using System.Numerics;
using System.Runtime.InteropServices;

namespace FedICU;

/// <summary>Native memory aligned for the widest vectors, freed once.</summary>
internal sealed unsafe partial class NativeBuffer : IDisposable
{
    private const int Alignment = 64;
    private const int HugePage = 2 << 20;
    private const int AdviseHugePage = 14;

    private readonly int _pooledSize;

    /// <summary>Allocates.</summary>
    /// <param name="bytes">How many; 0 is one.</param>
    /// <param name="clear">Whether they are set to 0.</param>
    /// <param name="pooled">For memory that lives for a step of the work: it is kept for the next step of this thread where it is not large.</param>
    public NativeBuffer(long bytes, bool clear = false, bool pooled = false)
    {
        ByteLength = bytes;
        if (pooled && bytes <= Pool.LargestBytes)
        {
            _pooledSize = Pool.SizeOf(bytes);
            Pointer = (byte*)Pool.OfThread.Take(_pooledSize);
        }

        if (Pointer is null)
            Pointer = Allocate(_pooledSize == 0 ? Math.Max(bytes, 1) : Pool.BytesOf(_pooledSize));
        if (clear)
            NativeMemory.Clear(Pointer, (nuint)bytes);
        GC.AddMemoryPressure(Math.Max(bytes, 1));
    }

    public byte* Pointer { get; private set; }

    public long ByteLength { get; }

    public static long Align(long bytes) => (bytes + (Alignment - 1)) & ~(Alignment - 1L);

    public void Dispose()
    {
        if (Pointer is not null && _pooledSize != 0 && Pool.OfThread.TryKeep((nint)Pointer, _pooledSize))
        {
            Pointer = null;
            GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
        }

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
        GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
    }

    /// <summary>
    /// Memory that a thread gave back and will want again: the system would take and clear its pages each time. A few megabytes, in sizes that are powers
    /// of two.
    /// </summary>
    private sealed class Pool
    {
        public const long LargestBytes = 8 << 20;
        private const int SmallestShift = 10, Sizes = 14;
        private const long KeptBytes = 12 << 20;

        [ThreadStatic]
        private static Pool? t_ofThread;

        private readonly Stack<nint>[] _kept = [.. Enumerable.Range(0, Sizes).Select(_ => new Stack<nint>())];
        private long _bytes;

        public static Pool OfThread => t_ofThread ??= new Pool();

        /// <summary>1 for up to a kilobyte, 2 for up to two, and so on.</summary>
        public static int SizeOf(long bytes) => Math.Max(64 - BitOperations.LeadingZeroCount((ulong)Math.Max(bytes, 1) - 1) - SmallestShift, 0) + 1;

        public static long BytesOf(int size) => 1L << (SmallestShift + size - 1);

        public nint Take(int size)
        {
            if (!_kept[size - 1].TryPop(out nint pointer))
                return 0;
            _bytes -= BytesOf(size);
            return pointer;
        }

        public bool TryKeep(nint pointer, int size)
        {
            if (_bytes + BytesOf(size) > KeptBytes)
                return false;
            _kept[size - 1].Push(pointer);
            _bytes += BytesOf(size);
            return true;
        }

        ~Pool()
        {
            foreach (nint pointer in _kept.SelectMany(pointers => pointers))
                NativeMemory.AlignedFree((void*)pointer);
        }
    }
}
