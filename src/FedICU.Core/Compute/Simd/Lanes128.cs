using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

/// <summary>Eight lanes in four registers of 128 bits: a has lanes 0 and 1, b 2 and 3, c 4 and 5, d 6 and 7.</summary>
internal readonly unsafe struct Lanes128 : ILanes<Lanes128>
{
    private readonly Vector128<double> _a, _b, _c, _d;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Lanes128(Vector128<double> a, Vector128<double> b, Vector128<double> c, Vector128<double> d) =>
        (_a, _b, _c, _d) = (a, b, c, d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Broadcast(double value)
    {
        Vector128<double> two = Vector128.Create(value);
        return new(two, two, two, two);
    }

    public static Lanes128 Indices
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector128.Create(0.0, 1), Vector128.Create(2.0, 3), Vector128.Create(4.0, 5), Vector128.Create(6.0, 7));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Load(double* source) =>
        new(Vector128.Load(source), Vector128.Load(source + 2), Vector128.Load(source + 4), Vector128.Load(source + 6));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadSingle(float* source) => Widen(Vector128.Load(source), Vector128.Load(source + 4));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadHalf(ushort* source)
    {
        Vector128<ushort> eight = Vector128.Load(source);
        return Widen(HalfBits.Decode(Vector128.WidenLower(eight)), HalfBits.Decode(Vector128.WidenUpper(eight)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadBFloat16(ushort* source)
    {
        Vector128<ushort> eight = Vector128.Load(source);
        return Widen((Vector128.WidenLower(eight) << 16).AsSingle(), (Vector128.WidenUpper(eight) << 16).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lanes128 value, double* target)
    {
        value._a.Store(target);
        value._b.Store(target + 2);
        value._c.Store(target + 4);
        value._d.Store(target + 6);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Narrow(Lanes128 value) =>
        Vector256.Create(Vector128.Narrow(value._a, value._b), Vector128.Narrow(value._c, value._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Add(Lanes128 left, Lanes128 right) =>
        new(left._a + right._a, left._b + right._b, left._c + right._c, left._d + right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Subtract(Lanes128 left, Lanes128 right) =>
        new(left._a - right._a, left._b - right._b, left._c - right._c, left._d - right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Multiply(Lanes128 left, Lanes128 right) =>
        new(left._a * right._a, left._b * right._b, left._c * right._c, left._d * right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Sqrt(Lanes128 value) =>
        new(Vector128.Sqrt(value._a), Vector128.Sqrt(value._b), Vector128.Sqrt(value._c), Vector128.Sqrt(value._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Divide(Lanes128 left, Lanes128 right) =>
        new(left._a / right._a, left._b / right._b, left._c / right._c, left._d / right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 FusedMultiplyAdd(Lanes128 x, Lanes128 y, Lanes128 z) => new(
        Vector128.FusedMultiplyAdd(x._a, y._a, z._a),
        Vector128.FusedMultiplyAdd(x._b, y._b, z._b),
        Vector128.FusedMultiplyAdd(x._c, y._c, z._c),
        Vector128.FusedMultiplyAdd(x._d, y._d, z._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Minimum(Lanes128 left, Lanes128 right) => new(
        Vector128.MinNative(left._a, right._a),
        Vector128.MinNative(left._b, right._b),
        Vector128.MinNative(left._c, right._c),
        Vector128.MinNative(left._d, right._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Maximum(Lanes128 left, Lanes128 right) => new(
        Vector128.MaxNative(left._a, right._a),
        Vector128.MaxNative(left._b, right._b),
        Vector128.MaxNative(left._c, right._c),
        Vector128.MaxNative(left._d, right._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Abs(Lanes128 value) =>
        new(Vector128.Abs(value._a), Vector128.Abs(value._b), Vector128.Abs(value._c), Vector128.Abs(value._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 And(Lanes128 left, Lanes128 right) =>
        new(left._a & right._a, left._b & right._b, left._c & right._c, left._d & right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Or(Lanes128 left, Lanes128 right) =>
        new(left._a | right._a, left._b | right._b, left._c | right._c, left._d | right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LessThan(Lanes128 left, Lanes128 right) => new(
        Vector128.LessThan(left._a, right._a),
        Vector128.LessThan(left._b, right._b),
        Vector128.LessThan(left._c, right._c),
        Vector128.LessThan(left._d, right._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint LessThanBits(Lanes128 left, Lanes128 right) =>
        Vector128.LessThan(left._a, right._a).ExtractMostSignificantBits() |
        Vector128.LessThan(left._b, right._b).ExtractMostSignificantBits() << 2 |
        Vector128.LessThan(left._c, right._c).ExtractMostSignificantBits() << 4 |
        Vector128.LessThan(left._d, right._d).ExtractMostSignificantBits() << 6;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Select(Lanes128 mask, Lanes128 first, Lanes128 second) => new(
        Vector128.ConditionalSelect(mask._a, first._a, second._a),
        Vector128.ConditionalSelect(mask._b, first._b, second._b),
        Vector128.ConditionalSelect(mask._c, first._c, second._c),
        Vector128.ConditionalSelect(mask._d, first._d, second._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 AddWhereLess(Lanes128 left, Lanes128 right, Lanes128 value, Lanes128 sum) =>
        Select(LessThan(left, right), Add(sum, value), sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 MultiplyAddWhereLess(Lanes128 left, Lanes128 right, Lanes128 x, Lanes128 y, Lanes128 sum) =>
        Select(LessThan(left, right), FusedMultiplyAdd(x, y, sum), sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int StoreWhere(Lanes128 mask, Lanes128 value, double* target) => Partial<Lanes128>.StoreWhere(
            mask._a.ExtractMostSignificantBits() |
            mask._b.ExtractMostSignificantBits() << 2 |
            mask._c.ExtractMostSignificantBits() << 4 |
            mask._d.ExtractMostSignificantBits() << 6,
            value, target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 PlainNaN(Lanes128 value) =>
        new(PlainNaN(value._a), PlainNaN(value._b), PlainNaN(value._c), PlainNaN(value._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Sum(Lanes128 value)
    {
        Vector128<double> two = (value._a + value._c) + (value._b + value._d);
        return two.ToScalar() + two.GetElement(1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Smallest(Lanes128 value)
    {
        Vector128<double> two = Vector128.MinNative(Vector128.MinNative(value._a, value._c), Vector128.MinNative(value._b, value._d));
        return Math.Min(two.ToScalar(), two.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Largest(Lanes128 value)
    {
        Vector128<double> two = Vector128.MaxNative(Vector128.MaxNative(value._a, value._c), Vector128.MaxNative(value._b, value._d));
        return Math.Max(two.ToScalar(), two.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<double> PlainNaN(Vector128<double> value) =>
        Vector128.ConditionalSelect(Vector128.Equals(value, value), value, Vector128.Create(HalfBits.PlainNaN).AsDouble());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Lanes128 Widen(Vector128<float> lower, Vector128<float> upper) => new(
        Vector128.WidenLower(lower), Vector128.WidenUpper(lower), Vector128.WidenLower(upper), Vector128.WidenUpper(upper));
}
