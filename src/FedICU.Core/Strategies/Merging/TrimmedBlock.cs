using FedICU.Panels;

namespace FedICU.Strategies.Merging;

/// <summary>Finds the bounds of the magnitudes that stay in a block.</summary>
internal static class TrimmedBlock
{
    /// <summary>Returns the least magnitude above 0 that belongs to the largest; the others are below it.</summary>
    /// <param name="block">The block. Equal magnitudes that do not belong become 0 where others in the block do.</param>
    /// <param name="client">The client.</param>
    /// <param name="cut">The largest magnitudes of the client's tensor.</param>
    public static double FindLeast(ClientBlock block, int client, MagnitudeCut cut)
    {
        if (!Overlaps(block, cut))
            return Math.BitIncrement(cut.Value);
        // an entry of 0 never belongs, as it adds nothing
        if (cut.Value == 0)
            return double.Epsilon;
        ClearTies(block, client, cut, inside: false);
        return cut.Value;
    }

    /// <summary>Returns the least magnitude that must go, as it belongs to the largest.</summary>
    public static double FindLimit(ClientBlock block, int client, MagnitudeCut cut)
    {
        if (Overlaps(block, cut))
            ClearTies(block, client, cut, inside: true);
        return Math.BitIncrement(cut.Value);
    }

    private static bool Overlaps(ClientBlock block, MagnitudeCut cut) =>
        cut.First < block.Start + block.Length && cut.Last >= block.Start;

    private static void ClearTies(ClientBlock block, int client, MagnitudeCut cut, bool inside)
    {
        // most blocks lie in the range as a whole
        if (!inside && cut.First <= block.Start && cut.Last >= block.Start + block.Length - 1)
            return;
        Span<double> values = block[client];
        for (int i = 0; i < values.Length; i++)
        {
            long index = block.Start + i;
            if (Math.Abs(values[i]) == cut.Value && (index >= cut.First && index <= cut.Last) == inside)
                values[i] = 0;
        }
    }
}
