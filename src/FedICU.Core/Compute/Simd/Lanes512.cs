using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute.Simd;

/// <summary>Eight lanes in one register of 512 bits.</summary>
internal readonly unsafe struct Lanes512 : ILanes<Lanes512>
{
    private readonly Vector512<double> _v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Lanes512(Vector512<double> v) => _v = v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Broadcast(double value) => new(Vector512.Create(value));

    public static Lanes512 Indices
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector512.Create(0.0, 1, 2, 3, 4, 5, 6, 7));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Load(double* source) => new(Vector512.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadSingle(float* source) => new(Widen(Vector256.Load(source)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadHalf(ushort* source)
    {
        Vector128<short> eight = Vector128.Load((short*)source);
        if (!Avx512F.IsSupported || HalfBits.AnySpecial(eight))
            return new(Widen(HalfBits.Decode(HalfBits.Load256(source))));
        return new(HalfBits.DecodeNormal(Avx512F.ConvertToVector512Int64(eight)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadBFloat16(ushort* source) => new(Widen((HalfBits.Load256(source) << 16).AsSingle()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lanes512 value, double* target) => value._v.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Add(Lanes512 left, Lanes512 right) => new(left._v + right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Subtract(Lanes512 left, Lanes512 right) => new(left._v - right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Multiply(Lanes512 left, Lanes512 right) => new(left._v * right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Sqrt(Lanes512 value) => new(Vector512.Sqrt(value._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Divide(Lanes512 left, Lanes512 right) => new(left._v / right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 FusedMultiplyAdd(Lanes512 x, Lanes512 y, Lanes512 z) => new(Vector512.FusedMultiplyAdd(x._v, y._v, z._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Minimum(Lanes512 left, Lanes512 right) => new(Vector512.MinNative(left._v, right._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Maximum(Lanes512 left, Lanes512 right) => new(Vector512.MaxNative(left._v, right._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Abs(Lanes512 value) => new(Vector512.Abs(value._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 And(Lanes512 left, Lanes512 right) => new(left._v & right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Or(Lanes512 left, Lanes512 right) => new(left._v | right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LessThan(Lanes512 left, Lanes512 right) => new(Vector512.LessThan(left._v, right._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint LessThanBits(Lanes512 left, Lanes512 right) =>
        (uint)Vector512.LessThan(left._v, right._v).ExtractMostSignificantBits();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Select(Lanes512 mask, Lanes512 first, Lanes512 second) =>
        new(Vector512.ConditionalSelect(mask._v, first._v, second._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 AddWhereLess(Lanes512 left, Lanes512 right, Lanes512 value, Lanes512 sum) =>
        new(Vector512.ConditionalSelect(Vector512.LessThan(left._v, right._v), sum._v + value._v, sum._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 MultiplyAddWhereLess(Lanes512 left, Lanes512 right, Lanes512 x, Lanes512 y, Lanes512 sum) => new(
        Vector512.ConditionalSelect(Vector512.LessThan(left._v, right._v), Vector512.FusedMultiplyAdd(x._v, y._v, sum._v), sum._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int StoreWhere(Lanes512 mask, Lanes512 value, double* target)
    {
        ulong bits = mask._v.ExtractMostSignificantBits();
        if (!Avx512F.IsSupported)
            return Partial<Lanes512>.StoreWhere((uint)bits, value, target);
        Avx512F.Compress(Vector512<double>.Zero, mask._v, value._v).Store(target);
        return BitOperations.PopCount(bits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 PlainNaN(Lanes512 value) =>
        new(Vector512.ConditionalSelect(Vector512.Equals(value._v, value._v), value._v, Vector512.Create(HalfBits.PlainNaN).AsDouble()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Sum(Lanes512 value)
    {
        Vector256<double> four = value._v.GetLower() + value._v.GetUpper();
        Vector128<double> two = four.GetLower() + four.GetUpper();
        return two.ToScalar() + two.GetElement(1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Smallest(Lanes512 value)
    {
        Vector256<double> four = Vector256.MinNative(value._v.GetLower(), value._v.GetUpper());
        Vector128<double> two = Vector128.MinNative(four.GetLower(), four.GetUpper());
        return Math.Min(two.ToScalar(), two.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Largest(Lanes512 value)
    {
        Vector256<double> four = Vector256.MaxNative(value._v.GetLower(), value._v.GetUpper());
        Vector128<double> two = Vector128.MaxNative(four.GetLower(), four.GetUpper());
        return Math.Max(two.ToScalar(), two.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Widen(Vector256<float> value) => Avx512F.IsSupported
        ? Avx512F.ConvertToVector512Double(value)
        : Vector512.Create(Vector256.WidenLower(value), Vector256.WidenUpper(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Narrow(Lanes512 value) => Avx512F.IsSupported
        ? Avx512F.ConvertToVector256Single(value._v)
        : Vector256.Narrow(value._v.GetLower(), value._v.GetUpper());
}
