using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Security.Cryptography;
using System.Text;

namespace FedICU.Compute;

/// <summary>
/// Standard normal noise N(0,1) by position. A value depends only on the seed, the tensor's name and the element's flat
/// index: they key and count a Philox 4x32-10 generator (Salmon, Moraes, Dror, Shaw 2011).
/// </summary>
internal readonly unsafe struct GaussianNoise
{
    // Philox 4x32's multipliers, its key increments and its number of rounds (Salmon et al. 2011)
    private const ulong Multiplier0 = 0xD2511F53;
    private const ulong Multiplier1 = 0xCD9E8D57;
    private const uint Increment0 = 0x9E3779B9;
    private const uint Increment1 = 0xBB67AE85;
    private const int Rounds = 10;

    // values that are computed side by side: those of the widest vectors; other CPUs take as many in several registers
    private const int Lanes = 8;

    private const double Ln2 = 0.6931471805599453;

    // the bits of the float64 values sqrt(1/2), 1/2 and 2^52
    private const ulong RootOfHalf = 0x3FE6A09E667F3BCD, BitsOfHalf = 0x3FE0000000000000, BitsOf2To52 = 0x4330000000000000;

    private readonly uint _key0, _key1;
    private readonly ulong _stream;

    /// <summary>
    /// Creates the noise of a tensor for a purpose: the stream is named tensor NUL purpose NUL number.
    /// </summary>
    public GaussianNoise(long seed, string tensor, string purpose, long number)
        : this(seed, string.Create(CultureInfo.InvariantCulture, $"{tensor}\0{purpose}\0{number}"))
    {
    }

    /// <summary>Creates the noise of a stream; a client's mask names it by its tensor.</summary>
    public GaussianNoise(long seed, string stream)
    {
        byte[] name = Encoding.UTF8.GetBytes(stream);
        byte[] keyed = new byte[sizeof(long) + name.Length];
        BinaryPrimitives.WriteInt64LittleEndian(keyed, seed);
        name.CopyTo(keyed, sizeof(long));
        byte[] hash = SHA256.HashData(keyed);
        _key0 = BinaryPrimitives.ReadUInt32LittleEndian(hash);
        _key1 = BinaryPrimitives.ReadUInt32LittleEndian(hash.AsSpan(4));
        _stream = BinaryPrimitives.ReadUInt64LittleEndian(hash.AsSpan(8));
    }

    /// <summary>Gets the value at a flat index.</summary>
    public double this[long index]
    {
        get
        {
            double value = 0;
            AddTo(index, 1, new(ref value));
            return value;
        }
    }

    /// <summary>Adds noise of a standard deviation to consecutive elements; each sum is rounded once.</summary>
    /// <param name="start">The flat index of the first element.</param>
    /// <param name="deviation">The factor of the noise.</param>
    /// <param name="values">The elements.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void AddTo(long start, double deviation, Span<double> values)
    {
        // each round's pair of keys
        ulong* keys = stackalloc ulong[2 * Rounds];
        for (uint round = 0; round < Rounds; round++)
        {
            keys[2 * round] = unchecked(_key0 + round * Increment0);
            keys[2 * round + 1] = unchecked(_key1 + round * Increment1);
        }

        Vector512<double> factor = Vector512.Create(deviation);
        Vector512<ulong> index = Vector512.Create((ulong)start) + Vector512<ulong>.Indices;
        ref double first = ref MemoryMarshal.GetReference(values);
        int i = 0;
        for (; i <= values.Length - Lanes; i += Lanes, index += Vector512.Create((ulong)Lanes))
        {
            (Vector512<ulong> u, Vector512<ulong> v) = Draw(index, keys);
            Vector512.FusedMultiplyAdd(Transform(u, v), factor, Vector512.LoadUnsafe(ref first, (nuint)i)).StoreUnsafe(ref first, (nuint)i);
        }

        if (i == values.Length)
            return;
        (Vector512<ulong> lastU, Vector512<ulong> lastV) = Draw(index, keys);
        Vector512<double> last = Transform(lastU, lastV);
        for (int j = 0; i + j < values.Length; j++)
            values[i + j] = Math.FusedMultiplyAdd(last[j], deviation, values[i + j]);
    }

    /// <summary>
    /// Computes the two random words of 64 bits of each index. A lane holds a word of the counter in its lower half.
    /// The upper half may hold anything, as the multiplication ignores it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private (Vector512<ulong> First, Vector512<ulong> Second) Draw(Vector512<ulong> index, ulong* keys)
    {
        Vector512<ulong> multiplier0 = Vector512.Create(Multiplier0), multiplier1 = Vector512.Create(Multiplier1);
        Vector512<ulong> c0 = index, c1 = index >>> 32, c2 = Vector512.Create(_stream), c3 = Vector512.Create(_stream >> 32);
        // two rounds at a time, so that no value moves from one register to another
        for (int key = 0; key < 2 * Rounds; key += 4)
        {
            Vector512<ulong> p0 = MultiplyLower(multiplier0, c0), p1 = MultiplyLower(multiplier1, c2);
            c0 = UpperHalves(p1) ^ c1 ^ Vector512.Create(keys[key]);
            c2 = UpperHalves(p0) ^ c3 ^ Vector512.Create(keys[key + 1]);
            c3 = MultiplyLower(multiplier0, c0);
            c1 = MultiplyLower(multiplier1, c2);
            c0 = UpperHalves(c1) ^ p1 ^ Vector512.Create(keys[key + 2]);
            c2 = UpperHalves(c3) ^ p0 ^ Vector512.Create(keys[key + 3]);
        }

        Vector512<ulong> lower = Vector512.Create((ulong)uint.MaxValue);
        return ((c0 << 32) | (c1 & lower), (c2 << 32) | (c3 & lower));
    }

    /// <summary>
    /// Computes sqrt(-2 ln u) cos(2 pi v), the transform of Box and Muller (1958), of u in (0,1] and v in [0,1), which
    /// are the upper 53 bits of the words.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<double> Transform(Vector512<ulong> first, Vector512<ulong> second)
    {
        // u = m 2^-k with m in [sqrt(1/2), sqrt(2)); u is above 0, as its logarithm must be finite
        Vector512<ulong> offset =
            Vector512.ConvertToDouble((first >>> 11) + Vector512<ulong>.One).AsUInt64() - Vector512.Create(RootOfHalf);
        Vector512<double> m = ((offset & Vector512.Create((1UL << 52) - 1)) + Vector512.Create(RootOfHalf)).AsDouble();
        Vector512<double> k = Vector512.Create((1L << 52) + 53.0) - ((offset >>> 52) | Vector512.Create(BitsOf2To52)).AsDouble();

        // -2 ln u = k 2 ln 2 + 4 atanh(s), s = (1 - m) / (1 + m)
        Vector512<double> one = Vector512<double>.One, s = (one - m) / (one + m);

        // with a = 1/4 - (v mod 1/2), cos(2 pi v) is sin(2 pi a) if v < 1/2, otherwise -sin(2 pi a)
        Vector512<double> half = ((second << 1 >>> 12) | Vector512.Create(BitsOfHalf)).AsDouble();
        Vector512<double> a = ((Vector512.Create(0.75) - half).AsUInt64() ^ (second & Vector512.Create(1UL << 63))).AsDouble();
        Vector512<double> cosine = a * SineFactor(a * a);
        Vector512<double> square = Vector512.FusedMultiplyAdd(s, LogarithmFactor(s * s), k * (2 * Ln2));
        return Vector512.Sqrt(square) * cosine;
    }

    /// <summary>
    /// Computes 4 atanh(s) / s of z = s^2 in [0, 0.0295]. Minimax coefficients, found by Remez's algorithm in 50
    /// digits; the polynomial's relative error is 1.3e-18.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> LogarithmFactor(Vector512<double> z)
    {
        Vector512<double> sum = Vector512.FusedMultiplyAdd(Vector512.Create(0.2959094912886549), z, Vector512.Create(0.3062819780092031));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(0.3636712480471876));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(0.444443972216833));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(0.5714285748402981));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(0.7999999999883275));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(1.3333333333333468));
        return Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(4.0));
    }

    /// <summary>
    /// Computes sin(2 pi a) / a of z = a^2 in [0, 1/16]. Minimax coefficients, found by Remez's algorithm in 50 digits;
    /// the polynomial's relative error is 2.6e-19.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> SineFactor(Vector512<double> z)
    {
        Vector512<double> sum = Vector512.FusedMultiplyAdd(Vector512.Create(0.10085632779802037), z, Vector512.Create(-0.7177235794204939));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(3.819927050405184));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(-15.094641620506104));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(42.05869392378512));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(-76.70585975279849));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(81.60524927607343));
        sum = Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(-41.341702240399755));
        return Vector512.FusedMultiplyAdd(sum, z, Vector512.Create(6.283185307179586));
    }

    /// <summary>Multiplies the lower 32 bits of the words to 64 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> MultiplyLower(Vector512<ulong> left, Vector512<ulong> right)
    {
        if (Avx512F.IsSupported)
            return Avx512F.Multiply(left.AsUInt32(), right.AsUInt32());
        if (Avx2.IsSupported)
        {
            return Vector512.Create(
                Avx2.Multiply(left.GetLower().AsUInt32(), right.GetLower().AsUInt32()),
                Avx2.Multiply(left.GetUpper().AsUInt32(), right.GetUpper().AsUInt32()));
        }

        Vector512<ulong> lower = Vector512.Create((ulong)uint.MaxValue);
        return (left & lower) * (right & lower);
    }

    /// <summary>Moves the upper 32 bits of the words to their lower ones; the upper ones then hold anything.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> UpperHalves(Vector512<ulong> value) =>
        Avx512F.IsSupported ? Avx512F.Shuffle(value.AsUInt32(), 0b11_11_01_01).AsUInt64() : value >>> 32;
}
