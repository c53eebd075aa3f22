using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute.Simd;

/// <summary>Eight lanes in two registers of 256 bits: a has lanes 0 to 3, b lanes 4 to 7.</summary>
internal readonly unsafe struct Lanes256 : ILanes<Lanes256>
{
    private readonly Vector256<double> _a, _b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Lanes256(Vector256<double> a, Vector256<double> b) => (_a, _b) = (a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Broadcast(double value) => new(Vector256.Create(value), Vector256.Create(value));

    public static Lanes256 Indices
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector256.Create(0.0, 1, 2, 3), Vector256.Create(4.0, 5, 6, 7));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Load(double* source) => new(Vector256.Load(source), Vector256.Load(source + 4));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadSingle(float* source) => new(Widen(Vector128.Load(source)), Widen(Vector128.Load(source + 4)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadHalf(ushort* source)
    {
        if (!Avx2.IsSupported || HalfBits.AnySpecial(Vector128.Load((short*)source)))
            return Widen(HalfBits.Decode(HalfBits.Load256(source)));
        return new(
            HalfBits.DecodeNormal(Avx2.ConvertToVector256Int64((short*)source)),
            HalfBits.DecodeNormal(Avx2.ConvertToVector256Int64((short*)source + 4)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadBFloat16(ushort* source)
    {
        Vector128<ushort> eight = Vector128.Load(source), zero = Vector128<ushort>.Zero;
        // a bfloat16 with 16 zero bits below it is a binary32: interleaving with zeros takes one step, widening and
        // shifting would take two
        return Sse2.IsSupported
            ? new(Widen(Sse2.UnpackLow(zero, eight).AsSingle()), Widen(Sse2.UnpackHigh(zero, eight).AsSingle()))
            : Widen((HalfBits.Load256(source) << 16).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lanes256 value, double* target)
    {
        value._a.Store(target);
        value._b.Store(target + 4);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Narrow(Lanes256 value) => Vector256.Narrow(value._a, value._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Add(Lanes256 left, Lanes256 right) => new(left._a + right._a, left._b + right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Subtract(Lanes256 left, Lanes256 right) => new(left._a - right._a, left._b - right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Multiply(Lanes256 left, Lanes256 right) => new(left._a * right._a, left._b * right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Sqrt(Lanes256 value) => new(Vector256.Sqrt(value._a), Vector256.Sqrt(value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Divide(Lanes256 left, Lanes256 right) => new(left._a / right._a, left._b / right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 FusedMultiplyAdd(Lanes256 x, Lanes256 y, Lanes256 z) => new(
        Vector256.FusedMultiplyAdd(x._a, y._a, z._a),
        Vector256.FusedMultiplyAdd(x._b, y._b, z._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Minimum(Lanes256 left, Lanes256 right) => new(
        Vector256.MinNative(left._a, right._a),
        Vector256.MinNative(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Maximum(Lanes256 left, Lanes256 right) => new(
        Vector256.MaxNative(left._a, right._a),
        Vector256.MaxNative(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Abs(Lanes256 value) => new(Vector256.Abs(value._a), Vector256.Abs(value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 And(Lanes256 left, Lanes256 right) => new(left._a & right._a, left._b & right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Or(Lanes256 left, Lanes256 right) => new(left._a | right._a, left._b | right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LessThan(Lanes256 left, Lanes256 right) => new(
        Vector256.LessThan(left._a, right._a),
        Vector256.LessThan(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint LessThanBits(Lanes256 left, Lanes256 right) =>
        Vector256.LessThan(left._a, right._a).ExtractMostSignificantBits() |
        Vector256.LessThan(left._b, right._b).ExtractMostSignificantBits() << 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Select(Lanes256 mask, Lanes256 first, Lanes256 second) => new(
        Vector256.ConditionalSelect(mask._a, first._a, second._a),
        Vector256.ConditionalSelect(mask._b, first._b, second._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 AddWhereLess(Lanes256 left, Lanes256 right, Lanes256 value, Lanes256 sum) =>
        Select(LessThan(left, right), Add(sum, value), sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 MultiplyAddWhereLess(Lanes256 left, Lanes256 right, Lanes256 x, Lanes256 y, Lanes256 sum) =>
        Select(LessThan(left, right), FusedMultiplyAdd(x, y, sum), sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int StoreWhere(Lanes256 mask, Lanes256 value, double* target) => Partial<Lanes256>.StoreWhere(
            mask._a.ExtractMostSignificantBits() |
            mask._b.ExtractMostSignificantBits() << 4,
            value, target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 PlainNaN(Lanes256 value) => new(PlainNaN(value._a), PlainNaN(value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Sum(Lanes256 value)
    {
        Vector256<double> four = value._a + value._b;
        Vector128<double> two = four.GetLower() + four.GetUpper();
        return two.ToScalar() + two.GetElement(1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Smallest(Lanes256 value)
    {
        Vector256<double> four = Vector256.MinNative(value._a, value._b);
        Vector128<double> two = Vector128.MinNative(four.GetLower(), four.GetUpper());
        return Math.Min(two.ToScalar(), two.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Largest(Lanes256 value)
    {
        Vector256<double> four = Vector256.MaxNative(value._a, value._b);
        Vector128<double> two = Vector128.MaxNative(four.GetLower(), four.GetUpper());
        return Math.Max(two.ToScalar(), two.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<double> PlainNaN(Vector256<double> value) =>
        Vector256.ConditionalSelect(Vector256.Equals(value, value), value, Vector256.Create(HalfBits.PlainNaN).AsDouble());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Lanes256 Widen(Vector256<float> value) => new(Widen(value.GetLower()), Widen(value.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<double> Widen(Vector128<float> value) => Avx.IsSupported
        ? Avx.ConvertToVector256Double(value)
        : Vector256.Create(Vector128.WidenLower(value), Vector128.WidenUpper(value));
}
