using System.Runtime.InteropServices;

namespace FedICU.Tests.Compute;

/// <summary>
/// Memory between two pages that cannot be accessed (on Linux; elsewhere plain memory). A block is placed against the
/// one page or the other. The rest is filled with a pattern that must not change.
/// </summary>
internal sealed unsafe partial class GuardedMemory : IDisposable
{
    /// <summary>The pattern. Chosen: differs from zeros, and not NaN in any type.</summary>
    private const byte Canary = 0xA5;

    /// <summary>Bytes of a page.</summary>
    private const int Page = 4096;

    /// <summary>PROT_READ | PROT_WRITE.</summary>
    private const int ReadWrite = 3;

    /// <summary>MAP_PRIVATE | MAP_ANONYMOUS on Linux.</summary>
    private const int PrivateAnonymous = 0x22;

    private readonly byte* _map;
    private readonly byte* _start;
    private readonly int _capacity;
    private byte* _placed;
    private int _bytes;

    public GuardedMemory(int capacity)
    {
        _capacity = (Math.Max(capacity, 1) + Page - 1) / Page * Page;
        if (OperatingSystem.IsLinux())
        {
            _map = (byte*)mmap(null, (nuint)_capacity + 2 * Page, ReadWrite, PrivateAnonymous, -1, 0);
            if ((nint)_map == -1 || mprotect(_map, Page, 0) != 0 || mprotect(_map + Page + _capacity, Page, 0) != 0)
                throw new InvalidOperationException("The system provided no guarded memory.");
        }
        else
        {
            _map = (byte*)NativeMemory.Alloc((nuint)_capacity + 2 * Page);
        }

        _start = _map + Page;
    }

    /// <summary>Places a block of bytes and fills the rest with the pattern.</summary>
    public byte* Place(int bytes, bool atEnd)
    {
        Assert.That(bytes, Is.LessThanOrEqualTo(_capacity));
        new Span<byte>(_start, _capacity).Fill(Canary);
        _placed = atEnd ? _start + _capacity - bytes : _start;
        _bytes = bytes;
        return _placed;
    }

    public int Capacity => _capacity;

    /// <summary>Returns whether the pattern is unchanged.</summary>
    public bool IsIntact()
    {
        int before = (int)(_placed - _start);
        return !new ReadOnlySpan<byte>(_start, before).ContainsAnyExcept(Canary) &&
            !new ReadOnlySpan<byte>(_placed + _bytes, _capacity - before - _bytes).ContainsAnyExcept(Canary);
    }

    public void Dispose()
    {
        if (OperatingSystem.IsLinux())
            _ = munmap(_map, (nuint)_capacity + 2 * Page);
        else
            NativeMemory.Free(_map);
    }

    [LibraryImport("libc")]
    private static partial void* mmap(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc")]
    private static partial int mprotect(void* address, nuint length, int protection);

    [LibraryImport("libc")]
    private static partial int munmap(void* address, nuint length);
}
