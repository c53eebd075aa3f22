using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute.Simd;

/// <summary>
/// One register for <see cref="GaussianNoise"/>, whose lanes are words of 64 bits or float64. All registers give the
/// same bits, as every operation is exact or rounds once.
/// </summary>
internal unsafe interface INoiseVector<V>
    where V : unmanaged, INoiseVector<V>
{
    /// <summary>Gets the lanes of a register.</summary>
    static abstract int Lanes { get; }

    /// <summary>Gets the words 0, 1, 2, ... of the lanes.</summary>
    static abstract V Indices { get; }

    static abstract V Broadcast(ulong value);
    static abstract V Broadcast(double value);

    /// <summary>Loads one word into all lanes.</summary>
    static abstract V LoadWord(ulong* source);

    static abstract V Load(double* source);
    static abstract void Store(V value, double* target);

    // operators work on words, the methods below them on float64
    static abstract V operator +(V left, V right);
    static abstract V operator -(V left, V right);
    static abstract V operator &(V left, V right);
    static abstract V operator |(V left, V right);
    static abstract V operator ^(V left, V right);
    static abstract V operator <<(V value, int count);
    static abstract V operator >>>(V value, int count);

    /// <summary>Computes x ^ y ^ z, in one instruction where there is one.</summary>
    static abstract V Xor(V x, V y, V z);

    /// <summary>Moves the upper 32 bits of the words to their lower ones; the upper ones then hold anything.</summary>
    static abstract V UpperHalves(V value);

    /// <summary>Multiplies the lower 32 bits of the words to 64 bits.</summary>
    static abstract V MultiplyLower(V left, V right);

    /// <summary>Converts words of at most 2^53 to float64, which is exact.</summary>
    static abstract V ToDoubles(V value);

    static abstract V Add(V left, V right);
    static abstract V Subtract(V left, V right);
    static abstract V Multiply(V left, V right);
    static abstract V Divide(V left, V right);
    static abstract V Sqrt(V value);

    /// <summary>Computes x * y + z, rounded once.</summary>
    static abstract V FusedMultiplyAdd(V x, V y, V z);
}

/// <summary>Eight lanes in a register of 512 bits.</summary>
internal readonly unsafe struct Noise512 : INoiseVector<Noise512>
{
    private readonly Vector512<ulong> _v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Noise512(Vector512<ulong> v) => _v = v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Noise512(Vector512<double> v) => _v = v.AsUInt64();

    public static int Lanes => Vector512<ulong>.Count;

    public static Noise512 Indices
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector512<ulong>.Indices);
    }

    private Vector512<double> Doubles
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => _v.AsDouble();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Broadcast(ulong value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Broadcast(double value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 LoadWord(ulong* source) => new(Vector512.Create(*source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Load(double* source) => new(Vector512.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Noise512 value, double* target) => value.Doubles.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 operator +(Noise512 left, Noise512 right) => new(left._v + right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 operator -(Noise512 left, Noise512 right) => new(left._v - right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 operator &(Noise512 left, Noise512 right) => new(left._v & right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 operator |(Noise512 left, Noise512 right) => new(left._v | right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 operator ^(Noise512 left, Noise512 right) => new(left._v ^ right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 operator <<(Noise512 value, int count) => new(value._v << count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 operator >>>(Noise512 value, int count) => new(value._v >>> count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Xor(Noise512 x, Noise512 y, Noise512 z) =>
        new(Avx512F.IsSupported ? Avx512F.TernaryLogic(x._v, y._v, z._v, 0x96) : x._v ^ y._v ^ z._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 UpperHalves(Noise512 value) =>
        new(Avx512F.IsSupported ? Avx512F.Shuffle(value._v.AsUInt32(), 0b11_11_01_01).AsUInt64() : value._v >>> 32);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 MultiplyLower(Noise512 left, Noise512 right) => new(MultiplyLower(left._v, right._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 ToDoubles(Noise512 value) => new(Vector512.ConvertToDouble(value._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Add(Noise512 left, Noise512 right) => new(left.Doubles + right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Subtract(Noise512 left, Noise512 right) => new(left.Doubles - right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Multiply(Noise512 left, Noise512 right) => new(left.Doubles * right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Divide(Noise512 left, Noise512 right) => new(left.Doubles / right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 Sqrt(Noise512 value) => new(Vector512.Sqrt(value.Doubles));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise512 FusedMultiplyAdd(Noise512 x, Noise512 y, Noise512 z) =>
        new(Vector512.FusedMultiplyAdd(x.Doubles, y.Doubles, z.Doubles));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> MultiplyLower(Vector512<ulong> left, Vector512<ulong> right) => Avx512F.IsSupported
        ? Avx512F.Multiply(left.AsUInt32(), right.AsUInt32())
        : Vector512.Create(
            Noise256.MultiplyLower(left.GetLower(), right.GetLower()), Noise256.MultiplyLower(left.GetUpper(), right.GetUpper()));
}

/// <summary>Four lanes in a register of 256 bits.</summary>
internal readonly unsafe struct Noise256 : INoiseVector<Noise256>
{
    private readonly Vector256<ulong> _v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Noise256(Vector256<ulong> v) => _v = v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Noise256(Vector256<double> v) => _v = v.AsUInt64();

    public static int Lanes => Vector256<ulong>.Count;

    public static Noise256 Indices
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector256<ulong>.Indices);
    }

    private Vector256<double> Doubles
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => _v.AsDouble();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Broadcast(ulong value) => new(Vector256.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Broadcast(double value) => new(Vector256.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 LoadWord(ulong* source) => new(Vector256.Create(*source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Load(double* source) => new(Vector256.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Noise256 value, double* target) => value.Doubles.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 operator +(Noise256 left, Noise256 right) => new(left._v + right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 operator -(Noise256 left, Noise256 right) => new(left._v - right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 operator &(Noise256 left, Noise256 right) => new(left._v & right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 operator |(Noise256 left, Noise256 right) => new(left._v | right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 operator ^(Noise256 left, Noise256 right) => new(left._v ^ right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 operator <<(Noise256 value, int count) => new(value._v << count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 operator >>>(Noise256 value, int count) => new(value._v >>> count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Xor(Noise256 x, Noise256 y, Noise256 z) =>
        new(Avx512F.VL.IsSupported ? Avx512F.VL.TernaryLogic(x._v, y._v, z._v, 0x96) : x._v ^ y._v ^ z._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 UpperHalves(Noise256 value) =>
        new(Avx2.IsSupported ? Avx2.Shuffle(value._v.AsUInt32(), 0b11_11_01_01).AsUInt64() : value._v >>> 32);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 MultiplyLower(Noise256 left, Noise256 right) => new(MultiplyLower(left._v, right._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 ToDoubles(Noise256 value) => new(Vector256.ConvertToDouble(value._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Add(Noise256 left, Noise256 right) => new(left.Doubles + right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Subtract(Noise256 left, Noise256 right) => new(left.Doubles - right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Multiply(Noise256 left, Noise256 right) => new(left.Doubles * right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Divide(Noise256 left, Noise256 right) => new(left.Doubles / right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 Sqrt(Noise256 value) => new(Vector256.Sqrt(value.Doubles));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise256 FusedMultiplyAdd(Noise256 x, Noise256 y, Noise256 z) =>
        new(Vector256.FusedMultiplyAdd(x.Doubles, y.Doubles, z.Doubles));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<ulong> MultiplyLower(Vector256<ulong> left, Vector256<ulong> right) => Avx2.IsSupported
        ? Avx2.Multiply(left.AsUInt32(), right.AsUInt32())
        : Vector256.Create(
            Noise128.MultiplyLower(left.GetLower(), right.GetLower()), Noise128.MultiplyLower(left.GetUpper(), right.GetUpper()));
}

/// <summary>Two lanes in a register of 128 bits.</summary>
internal readonly unsafe struct Noise128 : INoiseVector<Noise128>
{
    private readonly Vector128<ulong> _v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Noise128(Vector128<ulong> v) => _v = v;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Noise128(Vector128<double> v) => _v = v.AsUInt64();

    public static int Lanes => Vector128<ulong>.Count;

    public static Noise128 Indices
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector128<ulong>.Indices);
    }

    private Vector128<double> Doubles
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => _v.AsDouble();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Broadcast(ulong value) => new(Vector128.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Broadcast(double value) => new(Vector128.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 LoadWord(ulong* source) => new(Vector128.Create(*source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Load(double* source) => new(Vector128.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Noise128 value, double* target) => value.Doubles.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 operator +(Noise128 left, Noise128 right) => new(left._v + right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 operator -(Noise128 left, Noise128 right) => new(left._v - right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 operator &(Noise128 left, Noise128 right) => new(left._v & right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 operator |(Noise128 left, Noise128 right) => new(left._v | right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 operator ^(Noise128 left, Noise128 right) => new(left._v ^ right._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 operator <<(Noise128 value, int count) => new(value._v << count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 operator >>>(Noise128 value, int count) => new(value._v >>> count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Xor(Noise128 x, Noise128 y, Noise128 z) =>
        new(x._v ^ y._v ^ z._v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 UpperHalves(Noise128 value) =>
        new(Sse2.IsSupported ? Sse2.Shuffle(value._v.AsUInt32(), 0b11_11_01_01).AsUInt64() : value._v >>> 32);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 MultiplyLower(Noise128 left, Noise128 right) => new(MultiplyLower(left._v, right._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 ToDoubles(Noise128 value) => new(Vector128.ConvertToDouble(value._v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Add(Noise128 left, Noise128 right) => new(left.Doubles + right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Subtract(Noise128 left, Noise128 right) => new(left.Doubles - right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Multiply(Noise128 left, Noise128 right) => new(left.Doubles * right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Divide(Noise128 left, Noise128 right) => new(left.Doubles / right.Doubles);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 Sqrt(Noise128 value) => new(Vector128.Sqrt(value.Doubles));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Noise128 FusedMultiplyAdd(Noise128 x, Noise128 y, Noise128 z) =>
        new(Vector128.FusedMultiplyAdd(x.Doubles, y.Doubles, z.Doubles));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<ulong> MultiplyLower(Vector128<ulong> left, Vector128<ulong> right)
    {
        Vector128<ulong> lower = Vector128.Create((ulong)uint.MaxValue);
        return Sse2.IsSupported ? Sse2.Multiply(left.AsUInt32(), right.AsUInt32()) : (left & lower) * (right & lower);
    }
}
