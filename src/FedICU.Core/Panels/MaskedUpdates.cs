using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU.Panels;

/// <summary>Updates of which random entries stay, each client's times a factor.</summary>
/// <param name="numbers">The clients' random numbers.</param>
/// <param name="limit">An entry stays if its number is below this; from 1 on every entry stays.</param>
/// <param name="factors">The clients' factors.</param>
internal sealed class MaskedUpdates(UniformNumbers[] numbers, double limit, double[] factors)
{
    // the entries whose masks are computed at a time: chosen; a multiple of the generator's
    private const int MaskedEntries = 512;

    /// <summary>Sets entries of an update to 0 that do not stay, and multiplies the others.</summary>
    /// <param name="client">The client.</param>
    /// <param name="start">The flat index of the first entry.</param>
    /// <param name="update">The entries.</param>
    public void Apply(int client, long start, Span<double> update)
    {
        Span<ulong> masks = stackalloc ulong[MaskedEntries];
        for (int i = 0; i < update.Length && limit < 1; i += MaskedEntries)
        {
            Span<double> some = update[i..Math.Min(i + MaskedEntries, update.Length)];
            numbers[client].FindBelow(start + i, limit, masks);
            Span<ulong> bits = MemoryMarshal.Cast<double, ulong>(some);
            TensorPrimitives.BitwiseAnd<ulong>(bits, masks[..some.Length], bits);
        }

        TensorPrimitives.Multiply(update, factors[client], update);
    }
}
