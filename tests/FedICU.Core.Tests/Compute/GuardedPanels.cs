using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>Guarded memory for the panels of one case; the next case uses it again.</summary>
internal sealed unsafe class GuardedPanels : IDisposable
{
    private readonly List<GuardedMemory> _free = [], _used = [];

    /// <summary>Begins a case: the memory of the last case's panels is free again.</summary>
    public void Begin()
    {
        _free.AddRange(_used);
        _used.Clear();
    }

    /// <summary>Creates a panel.</summary>
    public TensorPanel Panel(DType dtype, int count, bool atEnd) => new(Bytes(count * dtype.BitSize / 8, atEnd), dtype);

    /// <summary>Creates a copy of float64 values.</summary>
    public double* Doubles(ReadOnlySpan<double> values, bool atEnd)
    {
        var data = (double*)Bytes(values.Length * sizeof(double), atEnd);
        values.CopyTo(new Span<double>(data, values.Length));
        return data;
    }

    /// <summary>Allocates bytes.</summary>
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

    /// <summary>Returns whether nothing was written outside of the case's blocks.</summary>
    public bool AreIntact() => _used.TrueForAll(memory => memory.IsIntact());

    public void Dispose()
    {
        Begin();
        _free.ForEach(memory => memory.Dispose());
        _free.Clear();
    }
}
