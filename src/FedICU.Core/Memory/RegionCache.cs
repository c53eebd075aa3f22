using System.Runtime.InteropServices;

namespace FedICU.Memory;

/// <summary>
/// Allocates large regions and keeps freed ones for the next buffers of the process. Faulting in fresh pages costs more
/// than the sums written to them, and small pages cost more than huge ones. Thread-safe.
/// </summary>
/// <remarks>
/// A region is either lent to one buffer or kept here. The kept bytes have a bound, beyond which the oldest regions are
/// freed. A region that no buffer takes is freed after a while. Nothing is kept while the garbage collector finds the
/// machine short of memory. Regions are not cleared.
/// </remarks>
/// <param name="mostBytes">The bound of the kept bytes.</param>
/// <param name="idle">The milliseconds after which a region is freed; the next tick of a timer frees it.</param>
internal sealed unsafe partial class RegionCache(long mostBytes, int idle)
{
    /// <summary>
    /// The bytes from which memory is a region. <value>Measured: 2 MiB saves no time, and 8 MiB leaves a client's mask
    /// of 5 MB a third slower.</value>
    /// </summary>
    public const long LeastBytes = 4 << 20;

    // bytes; a huge page of x86-64 and, usually, 64-bit Arm
    private const int HugePage = 2 << 20;

    // MADV_HUGEPAGE
    private const int AdviseHugePage = 14;

    // bytes that the process keeps at most; chosen
    private const long SharedBytes = 4L << 30;

    // the divisor of the process's memory that gives the bytes it keeps at most; chosen
    private const int MemoryParts = 8;

    // milliseconds; chosen: longer than the pause between rounds that follow each other at once
    private const int SharedIdle = 10_000;

    // The divisor of the wanted size that gives how much larger a region may be. Chosen: a client's updates differ in
    // size by less.
    private const int SlackParts = 4;

    private readonly Lock _gate = new();
    // the oldest first
    private readonly List<Region> _kept = [];
    private Timer? _timer;
    // Becomes false if the C library has another name or lacks the call.
    private bool _advises = OperatingSystem.IsLinux();

    /// <summary>
    /// Gets the cache of the process. It keeps at most 4 GiB, or an eighth of the memory if that is less. A region is
    /// freed within 20 seconds.
    /// </summary>
    public static RegionCache Shared { get; } =
        new(Math.Min(SharedBytes, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / MemoryParts), SharedIdle);

    /// <summary>Gets the call that asks the kernel for huge pages, which it may ignore.</summary>
    public Action<Region> Advise { get; init; } = static region => _ = CallAdvise(region.Pointer, (nuint)region.Bytes, AdviseHugePage);

    /// <summary>Gets the bytes that are kept.</summary>
    public long KeptBytes { get; private set; }

    /// <summary>Returns a region of at least the given size.</summary>
    /// <exception cref="OutOfMemoryException">Memory was not enough even after all kept regions were freed.</exception>
    public Region Take(long bytes)
    {
        bytes = checked(bytes + (HugePage - 1)) & ~(HugePage - 1L);
        lock (_gate)
        {
            int best = -1;
            for (int i = 0; i < _kept.Count; i++)
            {
                long size = _kept[i].Bytes;
                if (size >= bytes && size - bytes <= bytes / SlackParts && (best < 0 || size <= _kept[best].Bytes))
                    best = i;
            }

            if (best >= 0)
                return RemoveAt(best);
        }

        try
        {
            return Allocate(bytes);
        }
        catch (OutOfMemoryException)
        {
            Trim(0);
            return Allocate(bytes);
        }
    }

    /// <summary>Takes a region back, which its owner must not use any more.</summary>
    public void Return(Region region)
    {
        long now = Environment.TickCount64;
        lock (_gate)
        {
            _kept.Add(region with { KeptSince = now });
            KeptBytes += region.Bytes;
            if (_kept.Count == 1)
                (_timer ??= new Timer(static cache => ((RegionCache)cache!).Trim(), this, -1, -1)).Change(idle, idle);
        }

        GCMemoryInfo memory = GC.GetGCMemoryInfo();
        Free(most: memory.MemoryLoadBytes > memory.HighMemoryLoadThresholdBytes ? 0 : mostBytes, until: long.MinValue);
    }

    /// <summary>Frees the regions that have been kept for the given milliseconds.</summary>
    public void Trim(long age) => Free(most: mostBytes, until: Environment.TickCount64 - age);

    private void Trim() => Trim(idle);

    /// <summary>Frees the oldest regions until only most bytes are left, and those that were kept since then.</summary>
    private void Free(long most, long until)
    {
        while (TryRemoveOldest(most, until) is { } region)
            NativeMemory.AlignedFree((void*)region.Pointer);
    }

    private Region? TryRemoveOldest(long most, long until)
    {
        lock (_gate)
        {
            if (_kept.Count > 0 && (KeptBytes > most || _kept[0].KeptSince <= until))
                return RemoveAt(0);
            return null;
        }
    }

    private Region RemoveAt(int i)
    {
        Region region = _kept[i];
        _kept.RemoveAt(i);
        KeptBytes -= region.Bytes;
        if (_kept.Count == 0)
            _timer!.Change(-1, -1);
        return region;
    }

    private Region Allocate(long bytes)
    {
        var region = new Region((nint)NativeMemory.AlignedAlloc(checked((nuint)bytes), HugePage), bytes);
        if (!_advises)
            return region;
        try
        {
            Advise(region);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            _advises = false;
        }

        return region;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int CallAdvise(nint address, nuint length, int advice);
}
