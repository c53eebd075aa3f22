using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

/// <summary>An element type that is computed with: how eight of them are widened exactly to float64 and how float64 is rounded to them.</summary>
internal unsafe interface IElement
{
    /// <summary>Bytes.</summary>
    static abstract int Size { get; }

    /// <summary>Bytes ahead of those being read for which the cache is asked, as measured; 0 where the processor does better by itself.</summary>
    static abstract int Ahead { get; }

    /// <summary>A float64 rounds to a finite element where its magnitude is less than this.</summary>
    static abstract double Limit { get; }

    /// <summary>Eight elements, widened.</summary>
    static abstract L Load<L>(byte* source) where L : unmanaged, ILanes<L>;

    /// <summary>Eight elements, each rounded once, ties to even; NaN without payload.</summary>
    static abstract void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L>;

    /// <summary>The same for magnitudes that are all less than <see cref="Limit"/>.</summary>
    static abstract void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L>;

    /// <summary>The same by the shortest way, by binary32; gives bits in the lanes that it does not serve: what is not finite or too large, and what such a way would round twice.</summary>
    static abstract Vector256<uint> StoreShort<L>(L value, byte* target) where L : unmanaged, ILanes<L>;
}

/// <summary>IEEE 754 binary64.</summary>
internal readonly unsafe struct F64 : IElement
{
    public static int Size => sizeof(double);

    public static int Ahead => 0;

    public static double Limit => double.PositiveInfinity;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.Load((double*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Store(L.PlainNaN(value), (double*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Store(value, (double*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreShort<L>(L value, byte* target) where L : unmanaged, ILanes<L>
    {
        StoreFinite(value, target);
        return HalfBits.Above(L.Narrow(value), float.MaxValue);
    }
}

/// <summary>IEEE 754 binary32.</summary>
internal readonly unsafe struct F32 : IElement
{
    public static int Size => sizeof(float);

    public static int Ahead => 256;

    // the largest float32 and half a unit of its last place: 2^128 - 2^103
    public static double Limit => Rounder.TwoTo128 - 1.0141204801825835e+31;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadSingle((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Narrow(L.PlainNaN(value)).Store((float*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Narrow(value).Store((float*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreShort<L>(L value, byte* target) where L : unmanaged, ILanes<L>
    {
        Vector256<float> single = L.Narrow(value);
        single.Store((float*)target);
        return HalfBits.Above(single, float.MaxValue);
    }
}

/// <summary>IEEE 754 binary16.</summary>
internal readonly unsafe struct F16 : IElement
{
    public static int Size => sizeof(ushort);

    public static int Ahead => 1024;

    // 65504 and half a unit of its last place
    public static double Limit => 65520;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadHalf((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.Round(L.PlainNaN(value), Rounder.TwoToMinus14, 65536, 10), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.RoundFinite(value, Rounder.TwoToMinus14, 10), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreShort<L>(L value, byte* target) where L : unmanaged, ILanes<L> => HalfBits.StoreHalf(L.Narrow(value), (ushort*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreExact<L>(L value, byte* target) where L : unmanaged, ILanes<L> => HalfBits.Store(HalfBits.Encode(L.Narrow(value)), (ushort*)target);
}

/// <summary>bfloat16: the upper half of a binary32.</summary>
internal readonly unsafe struct BF16 : IElement
{
    public static int Size => sizeof(ushort);

    public static int Ahead => 1024;

    // 2^128 - 2^120 and half a unit of its last place: 2^128 - 2^119
    public static double Limit => Rounder.TwoTo128 - 6.64613997892458e+35;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadBFloat16((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.Round(L.PlainNaN(value), Rounder.TwoToMinus126, Rounder.TwoTo128, 7), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreFinite<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        StoreExact(Rounder.RoundFinite(value, Rounder.TwoToMinus126, 7), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreShort<L>(L value, byte* target) where L : unmanaged, ILanes<L> => HalfBits.StoreBFloat16(L.Narrow(value), (ushort*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreExact<L>(L value, byte* target) where L : unmanaged, ILanes<L> => HalfBits.Store(L.Narrow(value).AsUInt32() >>> 16, (ushort*)target);
}

/// <summary>One rounding of float64 to a type of fewer bits, the result still a float64.</summary>
internal static class Rounder
{
    public const double TwoTo128 = 3.402823669209385e+38, TwoToMinus14 = 6.103515625e-05, TwoToMinus126 = 1.1754943508222875e-38;

    /// <summary>
    /// Adds a power of two so large that the sum's last bit is the type's, and takes it away again: the addition rounds, ties to even, the
    /// subtraction is exact. The power follows the value's exponent, not below the smallest normal number's, so that subnormals round as they should.
    /// Values past the largest finite one come out as <paramref name="overflow"/> or more.
    /// </summary>
    /// <param name="value">What is rounded.</param>
    /// <param name="smallestNormal">The type's smallest normal number.</param>
    /// <param name="overflow">The power of two above the type's largest finite number.</param>
    /// <param name="fractionBits">The type's bits after the leading one.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Round<L>(L value, double smallestNormal, double overflow, int fractionBits) where L : unmanaged, ILanes<L>
    {
        L power = L.Minimum(Power(value, smallestNormal), L.Broadcast(overflow));
        return Round(value, power, fractionBits);
    }

    /// <summary>The same for values that round to a finite one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L RoundFinite<L>(L value, double smallestNormal, int fractionBits) where L : unmanaged, ILanes<L> =>
        Round(value, Power(value, smallestNormal), fractionBits);

    /// <summary>The power of two at or below the magnitude, or the smallest normal number.</summary>
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
