using System.Runtime.CompilerServices;

namespace FedICU.Compute.Simd;

/// <summary>Two registers side by side: the CPU works on one while it waits for the other.</summary>
internal readonly unsafe struct NoisePair<V> : INoiseVector<NoisePair<V>>
    where V : unmanaged, INoiseVector<V>
{
    private readonly V _a, _b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private NoisePair(V a, V b) => (_a, _b) = (a, b);

    public static int Lanes => 2 * V.Lanes;

    public static NoisePair<V> Indices
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(V.Indices, V.Indices + V.Broadcast((ulong)V.Lanes));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Broadcast(ulong value) => new(V.Broadcast(value), V.Broadcast(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Broadcast(double value) => new(V.Broadcast(value), V.Broadcast(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> LoadWord(ulong* source) => new(V.LoadWord(source), V.LoadWord(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Load(double* source) => new(V.Load(source), V.Load(source + V.Lanes));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(NoisePair<V> value, double* target)
    {
        V.Store(value._a, target);
        V.Store(value._b, target + V.Lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> operator +(NoisePair<V> left, NoisePair<V> right) => new(left._a + right._a, left._b + right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> operator -(NoisePair<V> left, NoisePair<V> right) => new(left._a - right._a, left._b - right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> operator &(NoisePair<V> left, NoisePair<V> right) => new(left._a & right._a, left._b & right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> operator |(NoisePair<V> left, NoisePair<V> right) => new(left._a | right._a, left._b | right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> operator ^(NoisePair<V> left, NoisePair<V> right) => new(left._a ^ right._a, left._b ^ right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> operator <<(NoisePair<V> value, int count) => new(value._a << count, value._b << count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> operator >>>(NoisePair<V> value, int count) => new(value._a >>> count, value._b >>> count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Xor(NoisePair<V> x, NoisePair<V> y, NoisePair<V> z) => new(V.Xor(x._a, y._a, z._a), V.Xor(x._b, y._b, z._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> MultiplyLower(NoisePair<V> left, NoisePair<V> right) =>
        new(V.MultiplyLower(left._a, right._a), V.MultiplyLower(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Add(NoisePair<V> left, NoisePair<V> right) =>
        new(V.Add(left._a, right._a), V.Add(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Subtract(NoisePair<V> left, NoisePair<V> right) =>
        new(V.Subtract(left._a, right._a), V.Subtract(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Multiply(NoisePair<V> left, NoisePair<V> right) =>
        new(V.Multiply(left._a, right._a), V.Multiply(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Divide(NoisePair<V> left, NoisePair<V> right) =>
        new(V.Divide(left._a, right._a), V.Divide(left._b, right._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> UpperHalves(NoisePair<V> value) => new(V.UpperHalves(value._a), V.UpperHalves(value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> ToDoubles(NoisePair<V> value) => new(V.ToDoubles(value._a), V.ToDoubles(value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> Sqrt(NoisePair<V> value) => new(V.Sqrt(value._a), V.Sqrt(value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static NoisePair<V> FusedMultiplyAdd(NoisePair<V> x, NoisePair<V> y, NoisePair<V> z) =>
        new(V.FusedMultiplyAdd(x._a, y._a, z._a), V.FusedMultiplyAdd(x._b, y._b, z._b));
}
