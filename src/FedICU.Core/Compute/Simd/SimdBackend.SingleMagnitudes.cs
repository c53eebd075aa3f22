using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// CollectSingles: CollectMagnitudes for values that are binary32 numbers.
public sealed unsafe partial class SimdBackend
{
    // elements of a Vector512<float>
    private const int SingleLanes = 16;

    // from a collected value to its origin; a vector may be stored after the last value
    private const int PairOffset = UpdateTile + 2 * SingleLanes;

    /// <summary>Returns whether all numbers of a type are binary32 numbers.</summary>
    internal static bool HoldsSingles(DType dtype) => dtype is DType.F32 or DType.F16 or DType.BF16;

    /// <summary>
    /// Counts the magnitudes of an update and collects those inside a range, as
    /// <see cref="CollectMagnitudes"/> does.
    /// </summary>
    /// <remarks>
    /// A difference in binary32 decides where a magnitude counts. Rounding keeps the order of the differences, so only
    /// elements next to an end may count on the other side of it. What is collected are the differences in float64.
    /// </remarks>
    /// <param name="input">The values, of a type that holds singles.</param>
    /// <param name="origin">What is subtracted from them.</param>
    /// <param name="length">The number of values, at most <see cref="UpdateTile"/>.</param>
    /// <param name="bracket">The range; its ends are binary32 numbers.</param>
    /// <param name="counts">The counts, added to.</param>
    /// <param name="inside">
    /// Receives the magnitudes inside, from the number on that the counts have, and up to seven more elements change.
    /// </param>
    [SkipLocalsInit]
    internal static void CollectSingles(
        TensorPanel input, float* origin, int length, MagnitudeBracket bracket, ref BracketCounts counts, double* inside)
    {
        float* pairs = stackalloc float[2 * PairOffset];
        byte* data = (byte*)input.Data;
        int whole = length / SingleLanes * SingleLanes;
        int count = input.DType switch
        {
            DType.F32 => CollectPairs<F32>(data, origin, whole, bracket, ref counts, pairs),
            DType.F16 => CollectPairs<F16>(data, origin, whole, bracket, ref counts, pairs),
            DType.BF16 => CollectPairs<BF16>(data, origin, whole, bracket, ref counts, pairs),
            DType other => throw Rounding.NotComputed(other),
        };
        if (whole < length)
        {
            // NaN is above every end, and not inside
            float* rest = stackalloc float[2 * SingleLanes];
            new Span<float>(rest, SingleLanes).Fill(float.NaN);
            for (int i = 0; whole + i < length; i++)
                (rest[i], rest[SingleLanes + i]) = ((float)Rounding.Read(data, input.DType, whole + i), origin[whole + i]);
            count += CollectPairs<F32>((byte*)rest, rest + SingleLanes, SingleLanes, bracket, ref counts, pairs + count);
            counts.OverLow -= whole + SingleLanes - length;
        }

        StoreDifferences(pairs, count, inside + counts.Inside);
        counts.Inside += count;
    }

    /// <summary>Widens numbers of 16 bits to binary32.</summary>
    internal static void WidenSingles(TensorPanel input, int length, float* target)
    {
        int whole = input.DType == DType.F16
            ? WidenSingles<F16>((byte*)input.Data, length, target)
            : WidenSingles<BF16>((byte*)input.Data, length, target);
        for (int i = whole; i < length; i++)
            target[i] = (float)Rounding.Read(input.Data, input.DType, i);
    }

    [MethodImpl(Kernel)]
    private static int WidenSingles<E>(byte* input, int length, float* target)
        where E : struct, ISingleElement
    {
        int i = 0;
        for (; i <= length - SingleLanes; i += SingleLanes)
            E.LoadSingles(input + i * E.Size).Store(target + i);
        return i;
    }

    private static int CollectPairs<E>(
        byte* input, float* origin, int length, MagnitudeBracket bracket, ref BracketCounts counts, float* pairs)
        where E : struct, ISingleElement => bracket.CountsEnds
            ? CollectPairs<E, Two>(input, origin, length, bracket, ref counts, pairs)
            : CollectPairs<E, One>(input, origin, length, bracket, ref counts, pairs);

    /// <summary>
    /// Collects values and origins of the differences inside. With two, magnitudes at the ends are counted. The bits of
    /// magnitudes are compared as whole numbers, whose order is the same.
    /// </summary>
    [MethodImpl(Kernel)]
    private static int CollectPairs<E, R>(
        byte* input, float* origin, int length, MagnitudeBracket bracket, ref BracketCounts counts, float* pairs)
        where E : struct, ISingleElement
        where R : struct, ICount
    {
        int lowest = BitConverter.SingleToInt32Bits((float)bracket.Low), highest = BitConverter.SingleToInt32Bits((float)bracket.High);
        Vector512<int> low = Vector512.Create(lowest), high = Vector512.Create(highest), magnitude = Vector512.Create(int.MaxValue);
        Vector512<int> first = Vector512.Create(unchecked(lowest + 1));
        Vector512<uint> number = Vector512.Create(highest > lowest ? unchecked((uint)(highest - lowest) - 1) : 0);
        long over = 0, atLow = 0, atHigh = 0, inexact = 0;
        nint count = 0;
        for (nint i = 0; i < length; i += SingleLanes)
        {
            if (Sse.IsSupported)
                Sse.Prefetch0(input + (i + UpdateTile) * E.Size);
            Vector512<float> y = E.LoadSingles(input + i * E.Size), x = Vector512.Load(origin + i), d = y - x;
            Vector512<int> bits = d.AsInt32() & magnitude;
            over += CountLanes(Vector512.GreaterThan(bits, low));
            if (R.Value > 1)
            {
                Vector512<int> isLow = Vector512.Equals(bits, low), isHigh = Vector512.Equals(bits, high);
                // a difference from which both operands can be computed is exact
                Vector512<float> isExact = Vector512.Equals(y - d, x) & Vector512.Equals(d + x, y);
                atLow += CountLanes(isLow);
                atHigh += CountLanes(isHigh);
                inexact += CountLanes(Vector512.AndNot(isLow | isHigh, isExact.AsInt32()));
            }

            Vector512<uint> place = (bits - first).AsUInt32();
            // the comparison is repeated so that the mask stays in the CPU's mask registers
            if (Avx512F.IsSupported)
            {
                Avx512F.Compress(Vector512<float>.Zero, Vector512.LessThan(place, number).AsSingle(), y).Store(pairs + count);
                Avx512F.Compress(Vector512<float>.Zero, Vector512.LessThan(place, number).AsSingle(), x).Store(pairs + PairOffset + count);
                count += BitOperations.PopCount(Vector512.LessThan(place, number).ExtractMostSignificantBits());
                continue;
            }

            for (ulong left = Vector512.LessThan(place, number).ExtractMostSignificantBits(); left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                (pairs[count], pairs[PairOffset + count]) = (y[lane], x[lane]);
                count++;
            }
        }

        counts.OverLow += over;
        counts.AtLow += atLow;
        counts.AtHigh += bracket.High > bracket.Low ? atHigh : 0;
        counts.Inexact += inexact;
        return (int)count;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int CountLanes(Vector512<int> mask) => BitOperations.PopCount(mask.ExtractMostSignificantBits());

    /// <summary>Stores the magnitudes of pairs' differences in float64, up to a multiple of eight.</summary>
    [MethodImpl(Kernel)]
    private static void StoreDifferences(float* pairs, int count, double* target)
    {
        for (nint i = 0; i < count; i += Vector512<double>.Count)
            Vector512.Abs(Widen(pairs + i) - Widen(pairs + PairOffset + i)).Store(target + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Widen(float* source)
    {
        Vector256<float> eight = Vector256.Load(source);
        return Avx512F.IsSupported
            ? Avx512F.ConvertToVector512Double(eight)
            : Vector512.Create(Vector256.WidenLower(eight), Vector256.WidenUpper(eight));
    }
}
