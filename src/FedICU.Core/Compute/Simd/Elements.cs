using System.Runtime.CompilerServices;

namespace FedICU.Compute;

/// <summary>An element type that is computed with: how eight of them are widened exactly to float64 and how float64 is rounded to them.</summary>
internal unsafe interface IElement
{
    /// <summary>Bytes.</summary>
    static abstract int Size { get; }

    /// <summary>A float64 rounds to a finite element where its magnitude is less than this.</summary>
    static abstract double Limit { get; }

    /// <summary>Eight elements, widened.</summary>
    static abstract L Load<L>(byte* source) where L : unmanaged, ILanes<L>;

    /// <summary>Eight elements, each rounded once, ties to even; NaN without payload.</summary>
    static abstract void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L>;
}

/// <summary>IEEE 754 binary64.</summary>
internal readonly unsafe struct F64 : IElement
{
    public static int Size => sizeof(double);

    public static double Limit => double.PositiveInfinity;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.Load((double*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.Store(L.PlainNaN(value), (double*)target);
}

/// <summary>IEEE 754 binary32.</summary>
internal readonly unsafe struct F32 : IElement
{
    public static int Size => sizeof(float);

    // the largest float32 and half a unit of its last place: 2^128 - 2^103
    public static double Limit => Rounder.TwoTo128 - 1.0141204801825835e+31;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadSingle((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> => L.StoreSingle(L.PlainNaN(value), (float*)target);
}

/// <summary>IEEE 754 binary16.</summary>
internal readonly unsafe struct F16 : IElement
{
    public static int Size => sizeof(ushort);

    // 65504 and half a unit of its last place
    public static double Limit => 65520;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadHalf((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        L.StoreExactHalf(Rounder.Round(L.PlainNaN(value), Rounder.TwoToMinus14, 65536, 10), (ushort*)target);
}

/// <summary>bfloat16: the upper half of a binary32.</summary>
internal readonly unsafe struct BF16 : IElement
{
    public static int Size => sizeof(ushort);

    // 2^128 - 2^120 and half a unit of its last place: 2^128 - 2^119
    public static double Limit => Rounder.TwoTo128 - 6.64613997892458e+35;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L>(byte* source) where L : unmanaged, ILanes<L> => L.LoadBFloat16((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(L value, byte* target) where L : unmanaged, ILanes<L> =>
        L.StoreExactBFloat16(Rounder.Round(L.PlainNaN(value), Rounder.TwoToMinus126, Rounder.TwoTo128, 7), (ushort*)target);
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
        L exponent = L.And(value, L.Broadcast(double.PositiveInfinity));
        L power = L.Minimum(L.Maximum(exponent, L.Broadcast(smallestNormal)), L.Broadcast(overflow));
        power = L.Multiply(power, L.Broadcast(1L << 52 - fractionBits));
        L magnitude = L.Subtract(L.Add(L.Abs(value), power), power);
        return L.Or(magnitude, L.And(value, L.Broadcast(-0.0)));
    }
}
