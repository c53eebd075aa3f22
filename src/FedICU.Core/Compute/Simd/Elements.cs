using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute.Simd;

/// <summary>
/// An element type of the kernels: widens eight elements exactly to float64, and rounds float64 to eight elements.
/// </summary>
internal unsafe interface IElement
{
    /// <summary>Gets the bytes of an element.</summary>
    static abstract int Size { get; }

    /// <summary>
    /// Gets the distance in bytes from what is read to what is prefetched, as measured; 0 if the hardware prefetcher
    /// does better.
    /// </summary>
    static abstract int PrefetchDistance { get; }

    /// <summary>Gets the limit below which a magnitude rounds to a finite element.</summary>
    static abstract double Limit { get; }

    /// <summary>Gets the bits of positive infinity.</summary>
    static abstract long InfinityBits { get; }

    /// <summary>Gets the power of two whose last place is worth 1.</summary>
    static abstract double Unit { get; }

    /// <summary>Gets the bits of <see cref="Unit"/>.</summary>
    static abstract long UnitBits { get; }

    /// <summary>Loads eight elements and widens them.</summary>
    static abstract L Load<L>(byte* source) where L : unmanaged, ILanes<L>;

    /// <summary>Stores eight elements, each rounded once, ties to even; NaN without payload.</summary>
    static abstract void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L>;

    /// <summary>Does the same for magnitudes that are all less than <see cref="Limit"/>.</summary>
    static abstract void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L>;

    /// <summary>
    /// Does the same in the fewest steps, through binary32. Returns bits in the lanes that must be stored in another
    /// way: values that are not finite or too large, and values that binary32 may have rounded onto a tie.
    /// </summary>
    static abstract Vector256<uint> StoreFast<L>(L value, byte* target) where L : unmanaged, ILanes<L>;
}

/// <summary>IEEE 754 binary64.</summary>
internal readonly unsafe struct F64 : IElement
{
    public static int Size => sizeof(double);

    public static int PrefetchDistance => 0;

    public static double Limit => double.PositiveInfinity;

    public static long InfinityBits => 0x7FF0L << 48;

    public static double Unit => 1L << 52;

    public static long UnitBits => 0x4330L << 48;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.Load((double*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Store(L.PlainNaN(value), (double*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Store(value, (double*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreFast<L>(L value, byte* target) where L : unmanaged, ILanes<L>
    {
        StoreFinite(value, target);
        return HalfBits.Above(L.Narrow(value), float.MaxValue);
    }
}

/// <summary>IEEE 754 binary32.</summary>
internal readonly unsafe struct F32 : ISingleElement
{
    public static int Size => sizeof(float);

    public static int PrefetchDistance => 256;

    // the largest float32 plus half a unit in the last place: 2^128 - 2^103
    public static double Limit => Rounder.TwoTo128 - 1.0141204801825835e+31;

    public static long InfinityBits => 0x7F80_0000;

    public static double Unit => 1 << 23;

    public static long UnitBits => 0x4B00_0000;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadSingle((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadSingles(byte* source) => Vector512.Load((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Narrow(L.PlainNaN(value)).Store((float*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Narrow(value).Store((float*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreFast<L>(L value, byte* target) where L : unmanaged, ILanes<L>
    {
        Vector256<float> single = L.Narrow(value);
        single.Store((float*)target);
        return HalfBits.Above(single, float.MaxValue);
    }
}

/// <summary>IEEE 754 binary16.</summary>
internal readonly unsafe struct F16 : ISingleElement
{
    public static int Size => sizeof(ushort);

    public static int PrefetchDistance => 1024;

    // the largest binary16, 65504, plus half a unit in the last place
    public static double Limit => 65520;

    public static long InfinityBits => 0x7C00;

    public static double Unit => 1 << 10;

    public static long UnitBits => 0x6400;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadHalf((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadSingles(byte* source) =>
        Vector512.Create(HalfBits.Decode(HalfBits.Load256((ushort*)source)), HalfBits.Decode(HalfBits.Load256((ushort*)source + 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.Round(L.PlainNaN(value), Rounder.TwoToMinus14, 65536, 10), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.RoundFinite(value, Rounder.TwoToMinus14, 10), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreFast<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        HalfBits.StoreHalf(L.Narrow(value), (ushort*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreExact<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        HalfBits.Store(HalfBits.Encode(L.Narrow(value)), (ushort*)target);
}

/// <summary>bfloat16: the upper half of a binary32.</summary>
internal readonly unsafe struct BF16 : ISingleElement
{
    public static int Size => sizeof(ushort);

    public static int PrefetchDistance => 1024;

    // the largest bfloat16, 2^128 - 2^120, plus half a unit in the last place: 2^128 - 2^119
    public static double Limit => Rounder.TwoTo128 - 6.64613997892458e+35;

    public static long InfinityBits => 0x7F80;

    public static double Unit => 1 << 7;

    public static long UnitBits => 0x4300;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadBFloat16((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadSingles(byte* source)
    {
        Vector512<uint> bits = Avx512F.IsSupported
            ? Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)source))
            : Vector512.Create(HalfBits.Load256((ushort*)source), HalfBits.Load256((ushort*)source + 8));
        return (bits << 16).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.Round(L.PlainNaN(value), Rounder.TwoToMinus126, Rounder.TwoTo128, 7), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.RoundFinite(value, Rounder.TwoToMinus126, 7), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreFast<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        HalfBits.StoreBFloat16(L.Narrow(value), (ushort*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreExact<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        HalfBits.Store(L.Narrow(value).AsUInt32() >>> 16, (ushort*)target);
}

/// <summary>Rounds float64 once to a type of fewer bits; the result is still a float64.</summary>
internal static class Rounder
{
    /// <summary>The power of two above the largest finite binary32 and bfloat16.</summary>
    public const double TwoTo128 = 3.402823669209385e+38;

    /// <summary>The smallest normal binary16.</summary>
    public const double TwoToMinus14 = 6.103515625e-05;

    /// <summary>The smallest normal binary32 and bfloat16.</summary>
    public const double TwoToMinus126 = 1.1754943508222875e-38;

    /// <summary>
    /// Rounds by adding a power of two and subtracting it again. The power is so large that the sum's last bit is the
    /// type's last bit: the addition rounds, ties to even, and the subtraction is exact. The power follows the value's
    /// exponent, but stays at that of the smallest normal number for smaller values, so that subnormals round
    /// correctly. Values past the largest finite one become <paramref name="overflow"/> or more.
    /// </summary>
    /// <param name="value">The values to round.</param>
    /// <param name="smallestNormal">The type's smallest normal number.</param>
    /// <param name="overflow">The power of two above the type's largest finite number.</param>
    /// <param name="fractionBits">The type's bits after the leading one.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Round<L>(L value, double smallestNormal, double overflow, int fractionBits) where L : unmanaged, ILanes<L>
    {
        L power = L.Minimum(Power(value, smallestNormal), L.Broadcast(overflow));
        return Round(value, power, fractionBits);
    }

    /// <summary>Does the same for values that round to a finite one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L RoundFinite<L>(L value, double smallestNormal, int fractionBits) where L : unmanaged, ILanes<L> =>
        Round(value, Power(value, smallestNormal), fractionBits);

    /// <summary>Returns the power of two at or below the magnitude, but at least the smallest normal number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Power<L>(L value, double smallestNormal) where L : unmanaged, ILanes<L> =>
        L.Maximum(L.And(value, L.Broadcast(double.PositiveInfinity)), L.Broadcast(smallestNormal));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Round<L>(L value, L power, int fractionBits) where L : unmanaged, ILanes<L>
    {
        power = L.Multiply(power, L.Broadcast(1L << 52 - fractionBits));
        L magnitude = L.Subtract(L.Add(L.Abs(value), power), power);
        return L.Or(magnitude, L.And(value, L.Broadcast(-0.0)));
    }
}
