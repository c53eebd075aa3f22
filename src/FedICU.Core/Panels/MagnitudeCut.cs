namespace FedICU.Panels;

/// <summary>
/// The largest magnitudes of an update: those above a value, and those equal to it in a range of flat indices.
/// </summary>
/// <param name="Value">The smallest of them.</param>
/// <param name="First">The first index of an equal magnitude that belongs to them.</param>
/// <param name="Last">The last such index.</param>
internal readonly record struct MagnitudeCut(double Value, long First, long Last)
{
    /// <summary>All magnitudes that are at least the value.</summary>
    public static MagnitudeCut From(double value) => new(value, 0, long.MaxValue);

    /// <summary>Returns the bound that the largest magnitudes in a block exceed, at least 0.</summary>
    /// <param name="start">The flat index of the block's first element.</param>
    /// <param name="count">The number of elements.</param>
    /// <param name="splits">
    /// Whether only some of the block's equal magnitudes belong to the largest; the others must be cleared
    /// (<see cref="ClearOthers"/>).
    /// </param>
    public double FindBound(long start, int count, out bool splits)
    {
        bool overlaps = First < start + count && Last >= start;
        splits = overlaps && (First > start || Last < start + count - 1);
        // an entry of 0 adds nothing
        return overlaps && Value > 0 ? Math.BitDecrement(Value) : Value;
    }

    /// <summary>Sets equal magnitudes to 0 that do not belong to the largest.</summary>
    /// <param name="start">The flat index of the first element.</param>
    /// <param name="update">The elements.</param>
    public void ClearOthers(long start, Span<double> update) => Clear(start, update, belong: false);

    /// <summary>Sets equal magnitudes to 0 that belong to the largest.</summary>
    /// <param name="start">The flat index of the first element.</param>
    /// <param name="update">The elements.</param>
    public void ClearOwn(long start, Span<double> update) => Clear(start, update, belong: true);

    private void Clear(long start, Span<double> update, bool belong)
    {
        for (int i = 0; i < update.Length; i++)
        {
            if (Math.Abs(update[i]) == Value && (start + i >= First && start + i <= Last) == belong)
                update[i] = 0;
        }
    }
}
