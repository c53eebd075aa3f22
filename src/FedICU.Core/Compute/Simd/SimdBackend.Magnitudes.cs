using System.Numerics;
using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// CollectMagnitudes: counts the magnitudes of an update and collects those in a range, in one pass.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Counts magnitudes and collects those inside a range.</summary>
    /// <param name="input">The values.</param>
    /// <param name="origin">What is subtracted from them, with zeros up to a multiple of eight; null: nothing.</param>
    /// <param name="length">The number of values.</param>
    /// <param name="bracket">The range.</param>
    /// <param name="counts">The counts, added to.</param>
    /// <param name="inside">
    /// Receives the magnitudes inside, from the number on that the counts have, and up to seven more elements change.
    /// It may be where the values are. Null: they are only counted.
    /// </param>
    internal void CollectMagnitudes(
        TensorPanel input, double* origin, int length, MagnitudeBracket bracket, ref BracketCounts counts, double* inside)
    {
        switch (Width)
        {
            case 512: Collect<Lanes512>(input, origin, length, bracket, ref counts, inside); break;
            case 256: Collect<Lanes256>(input, origin, length, bracket, ref counts, inside); break;
            default: Collect<Lanes128>(input, origin, length, bracket, ref counts, inside); break;
        }
    }

    private static void Collect<L>(
        TensorPanel input, double* origin, int length, MagnitudeBracket bracket, ref BracketCounts counts, double* inside)
        where L : unmanaged, ILanes<L>
    {
        int whole = length / Lanes * Lanes;
        switch (input.DType)
        {
            case DType.F64: Collect<L, F64>((byte*)input.Data, origin, whole, bracket, ref counts, inside); break;
            case DType.F32: Collect<L, F32>((byte*)input.Data, origin, whole, bracket, ref counts, inside); break;
            case DType.F16: Collect<L, F16>((byte*)input.Data, origin, whole, bracket, ref counts, inside); break;
            case DType.BF16: Collect<L, BF16>((byte*)input.Data, origin, whole, bracket, ref counts, inside); break;
            case DType other: throw Rounding.NotComputed(other);
        }

        if (whole == length)
            return;
        double* rest = stackalloc double[Lanes];
        WidenToTile<L>(input, whole, length - whole, rest);
        for (int i = 0; i < Lanes; i++)
        {
            // NaN is in no comparison
            rest[i] = i < length - whole ? rest[i] - (origin == null ? 0 : origin[whole + i]) : double.NaN;
        }

        // counted as if it were not below the range
        counts.AtLow -= bracket.CountsEnds ? whole + Lanes - length : 0;
        Collect<L, F64>((byte*)rest, null, Lanes, bracket, ref counts, inside);
    }

    private static void Collect<L, E>(
        byte* input, double* origin, int length, MagnitudeBracket bracket, ref BracketCounts counts, double* inside)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        if (bracket.CountsEnds)
            Collect<L, E, Two>(input, origin, length, bracket, ref counts, inside);
        else
            Collect<L, E, One>(input, origin, length, bracket, ref counts, inside);
    }

    /// <summary>Collects; with two, magnitudes at the ends are counted.</summary>
    [MethodImpl(Kernel)]
    private static void Collect<L, E, R>(
        byte* input, double* origin, int length, MagnitudeBracket bracket, ref BracketCounts counts, double* inside)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where R : struct, ICount
    {
        L low = L.Broadcast(bracket.Low), high = L.Broadcast(bracket.High);
        long over = 0, below = 0, overHigh = 0, count = counts.Inside;
        for (nint i = 0; i < length; i += Lanes)
        {
            L value = LoadBeforeNextTile<L, E>(input + i * E.Size);
            if (origin != null)
                value = L.Subtract(value, L.Load(origin + i));
            value = L.Abs(value);
            L isOver = L.LessThan(low, value), isInside = L.And(isOver, L.LessThan(value, high));
            over += BitOperations.PopCount(L.LessThanBits(low, value));
            if (R.Value > 1)
            {
                below += BitOperations.PopCount(L.LessThanBits(value, low));
                overHigh += BitOperations.PopCount(L.LessThanBits(high, value));
            }

            count += inside == null
                ? BitOperations.PopCount(L.LessThanBits(low, value) & L.LessThanBits(value, high))
                : L.StoreWhere(isInside, value, inside + count);
        }

        if (R.Value > 1)
        {
            counts.AtLow += length - over - below;
            counts.AtHigh += over - overHigh - (count - counts.Inside);
        }

        counts.OverLow += over;
        counts.Inside = count;
    }
}
