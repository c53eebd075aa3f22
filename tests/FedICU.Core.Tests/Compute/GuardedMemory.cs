using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>
/// Memory between two pages that nobody may touch (on Linux; elsewhere plain memory). What is placed in it lies against the one page or the other, and
/// all the rest is filled with a pattern that must still be there afterwards.
/// </summary>
internal sealed unsafe partial class GuardedMemory : IDisposable
{
    private const byte Canary = 0xA5;
    private const int Page = 4096;
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
                throw new InvalidOperationException("no guarded memory");
        }
        else
        {
            _map = (byte*)NativeMemory.Alloc((nuint)_capacity + 2 * Page);
        }

        _start = _map + Page;
    }

    /// <summary>Takes a place for some bytes, all around it the pattern.</summary>
    public byte* Place(int bytes, bool atEnd)
    {
        Assert.That(bytes, Is.LessThanOrEqualTo(_capacity));
        new Span<byte>(_start, _capacity).Fill(Canary);
        _placed = atEnd ? _start + _capacity - bytes : _start;
        _bytes = bytes;
        return _placed;
    }

    public int Capacity => _capacity;

    /// <summary>Whether the pattern is whole.</summary>
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

    private const int ReadWrite = 3, PrivateAnonymous = 0x22;

    [LibraryImport("libc")]
    private static partial void* mmap(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc")]
    private static partial int mprotect(void* address, nuint length, int protection);

    [LibraryImport("libc")]
    private static partial int munmap(void* address, nuint length);
}

/// <summary>Guarded places for the panels of one case; used again for the next.</summary>
internal sealed unsafe class GuardedPanels : IDisposable
{
    private readonly List<GuardedMemory> _free = [], _used = [];

    /// <summary>Forgets the panels of the case before.</summary>
    public void Begin()
    {
        _free.AddRange(_used);
        _used.Clear();
    }

    /// <summary>A panel of a type.</summary>
    public TensorPanel Panel(DType dtype, int count, bool atEnd) => new(Bytes(count * dtype.BitSize / 8, atEnd), dtype);

    /// <summary>A copy of float64 values.</summary>
    public double* Doubles(ReadOnlySpan<double> values, bool atEnd)
    {
        var data = (double*)Bytes(values.Length * sizeof(double), atEnd);
        values.CopyTo(new Span<double>(data, values.Length));
        return data;
    }

    public byte* Bytes(int count, bool atEnd)
    {
        int index = _free.FindIndex(memory => memory.Capacity >= count && memory.Capacity <= 8 * count + (1 << 14));
        GuardedMemory memory;
        if (index < 0)
        {
            memory = new GuardedMemory(Math.Max(count, 1 << 14));
        }
        else
        {
            memory = _free[index];
            _free.RemoveAt(index);
        }

        _used.Add(memory);
        return memory.Place(count, atEnd);
    }

    /// <summary>Whether nothing was written outside of the places taken.</summary>
    public bool AreIntact() => _used.TrueForAll(memory => memory.IsIntact());

    public void Dispose()
    {
        Begin();
        _free.ForEach(memory => memory.Dispose());
        _free.Clear();
    }
}
