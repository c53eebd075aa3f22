using System.Buffers.Binary;
using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using FedICU.Compute.Simd;

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

    // elements that are worked on at once: a multiple of all V.Lanes, whose 4 KiB of words stay in the L1 cache
    // (chosen)
    internal const int Tile = 256;

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
    public void AddTo(long start, double deviation, Span<double> values) =>
        AddTo(start, deviation, values, SimdBackend.WidestRegisters);

    /// <summary>Does the same in registers of 512, 256 or 128 bits; the width does not change the result.</summary>
    [SkipLocalsInit]
    internal void AddTo(long start, double deviation, Span<double> values, int width)
    {
        ulong* first = stackalloc ulong[Tile], second = stackalloc ulong[Tile];
        double* noise = (double*)first;
        for (; values.Length > 0; start += Tile)
        {
            int count = Math.Min(values.Length, Tile);
            // pairs hide latencies, but the 16 registers of AVX2 are too few for them
            if (width == 512)
                FillWords<NoisePair<Noise512>>((ulong)start, first, second, count);
            else if (width == 256)
                FillWords<Noise256>((ulong)start, first, second, count);
            else
                FillWords<NoisePair<Noise128>>((ulong)start, first, second, count);
            Transform(first, second, noise, count, width);
            Span<double> part = values[..count];
            TensorPrimitives.FusedMultiplyAdd(new ReadOnlySpan<double>(noise, count), deviation, part, part);
            values = values[count..];
        }
    }

    /// <summary>Transforms a tile of words, for the tests.</summary>
    internal static double[] Transform(ulong[] first, ulong[] second, int width)
    {
        double[] noise = new double[Tile];
        fixed (ulong* words = first, angles = second)
        fixed (double* target = noise)
            Transform(words, angles, target, Tile, width);
        return noise;
    }

    private static void Transform(ulong* first, ulong* second, double* noise, int count, int width)
    {
        if (width == 512)
            Transform<Noise512>(first, second, noise, count);
        else if (width == 256)
            Transform<Noise256>(first, second, noise, count);
        else
            Transform<Noise128>(first, second, noise, count);
    }

    /// <summary>
    /// Computes the two random words of 64 bits of each index, and of some more indices up to a multiple of V's lanes.
    /// A lane holds a word of the counter in its lower half. The upper half may hold anything, as the multiplication
    /// ignores it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    private void FillWords<V>(ulong start, ulong* first, ulong* second, int count)
        where V : unmanaged, INoiseVector<V>
    {
        // each round's pair of keys
        ulong* keys = stackalloc ulong[2 * Rounds];
        for (uint round = 0; round < Rounds; round++)
        {
            keys[2 * round] = unchecked(_key0 + round * Increment0);
            keys[2 * round + 1] = unchecked(_key1 + round * Increment1);
        }

        V multiplier0 = V.Broadcast(Multiplier0), multiplier1 = V.Broadcast(Multiplier1), lower = V.Broadcast((ulong)uint.MaxValue);
        for (int i = 0; i < count; i += V.Lanes)
        {
            V index = V.Broadcast(start + (ulong)i) + V.Indices;
            (V c0, V c1, V c2, V c3) = (index, index >>> 32, V.Broadcast(_stream), V.Broadcast(_stream >> 32));
            // two rounds at a time, so that no value moves from one register to another
            for (int key = 0; key < 2 * Rounds; key += 4)
            {
                V p0 = V.MultiplyLower(multiplier0, c0), p1 = V.MultiplyLower(multiplier1, c2);
                c0 = V.Xor(V.UpperHalves(p1), c1, V.LoadWord(keys + key));
                c2 = V.Xor(V.UpperHalves(p0), c3, V.LoadWord(keys + key + 1));
                c3 = V.MultiplyLower(multiplier0, c0);
                c1 = V.MultiplyLower(multiplier1, c2);
                c0 = V.Xor(V.UpperHalves(c1), p1, V.LoadWord(keys + key + 2));
                c2 = V.Xor(V.UpperHalves(c3), p0, V.LoadWord(keys + key + 3));
            }

            V.Store((c0 << 32) | (c1 & lower), (double*)first + i);
            V.Store((c2 << 32) | (c3 & lower), (double*)second + i);
        }
    }

    /// <summary>
    /// Computes sqrt(-2 ln u) cos(2 pi v), the transform of Box and Muller (1958), of u in (0,1] and v in [0,1), which
    /// are the upper 53 bits of the words.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transform<V>(ulong* first, ulong* second, double* noise, int count)
        where V : unmanaged, INoiseVector<V>
    {
        for (int i = 0; i < count; i += V.Lanes)
        {
            // u = m 2^-k with m in [sqrt(1/2), sqrt(2)); u is above 0, as its logarithm must be finite
            V offset = V.ToDoubles((V.Load((double*)first + i) >>> 11) + V.Broadcast(1UL)) - V.Broadcast(RootOfHalf);
            V m = (offset & V.Broadcast((1UL << 52) - 1)) + V.Broadcast(RootOfHalf);
            V k = V.Subtract(V.Broadcast((1L << 52) + 53.0), (offset >>> 52) | V.Broadcast(BitsOf2To52));

            // -2 ln u = k 2 ln 2 + 4 atanh(s), s = (1 - m) / (1 + m)
            V one = V.Broadcast(1.0), s = V.Divide(V.Subtract(one, m), V.Add(one, m));

            // with a = 1/4 - (v mod 1/2), cos(2 pi v) is sin(2 pi a) if v < 1/2, otherwise -sin(2 pi a)
            V angle = V.Load((double*)second + i);
            V half = (angle << 1 >>> 12) | V.Broadcast(BitsOfHalf);
            V a = V.Subtract(V.Broadcast(0.75), half) ^ (angle & V.Broadcast(1UL << 63));
            V cosine = V.Multiply(a, SineFactor<V>(V.Multiply(a, a)));
            V square = V.FusedMultiplyAdd(s, LogarithmFactor<V>(V.Multiply(s, s)), V.Multiply(k, V.Broadcast(2 * Ln2)));
            V.Store(V.Multiply(V.Sqrt(square), cosine), noise + i);
        }
    }

    /// <summary>
    /// Computes 4 atanh(s) / s of z = s^2 in [0, 0.0295]. Minimax coefficients, found by Remez's algorithm in 50
    /// digits; the polynomial's relative error is 1.3e-18.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V LogarithmFactor<V>(V z)
        where V : unmanaged, INoiseVector<V>
    {
        V sum = V.FusedMultiplyAdd(V.Broadcast(0.2959094912886549), z, V.Broadcast(0.3062819780092031));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(0.3636712480471876));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(0.444443972216833));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(0.5714285748402981));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(0.7999999999883275));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(1.3333333333333468));
        return V.FusedMultiplyAdd(sum, z, V.Broadcast(4.0));
    }

    /// <summary>
    /// Computes sin(2 pi a) / a of z = a^2 in [0, 1/16]. Minimax coefficients, found by Remez's algorithm in 50 digits;
    /// the polynomial's relative error is 2.6e-19.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V SineFactor<V>(V z)
        where V : unmanaged, INoiseVector<V>
    {
        V sum = V.FusedMultiplyAdd(V.Broadcast(0.10085632779802037), z, V.Broadcast(-0.7177235794204939));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(3.819927050405184));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(-15.094641620506104));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(42.05869392378512));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(-76.70585975279849));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(81.60524927607343));
        sum = V.FusedMultiplyAdd(sum, z, V.Broadcast(-41.341702240399755));
        return V.FusedMultiplyAdd(sum, z, V.Broadcast(6.283185307179586));
    }
}
