using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute;

/// <summary>
/// Standard normal noise N(0,1) by position. A value depends only on the seed, the tensor's name and the element's flat
/// index (<see cref="Philox"/>).
/// </summary>
internal readonly unsafe struct GaussianNoise
{
    private const double Ln2 = 0.6931471805599453;

    // the bits of the float64 values sqrt(1/2), 1/2 and 2^52
    private const ulong RootOfHalf = 0x3FE6A09E667F3BCD, BitsOfHalf = 0x3FE0000000000000, BitsOf2To52 = 0x4330000000000000;

    private readonly Philox _generator;

    /// <summary>
    /// Creates the noise of a tensor for a purpose: the stream is named tensor NUL purpose NUL number.
    /// </summary>
    public GaussianNoise(long seed, string tensor, string purpose, long number) =>
        _generator = new Philox(seed, tensor, purpose, number);

    /// <summary>Creates the noise of a stream; a client's mask names it by its tensor.</summary>
    public GaussianNoise(long seed, string stream) => _generator = new Philox(seed, stream);

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
        ulong* keys = stackalloc ulong[Philox.KeyCount];
        _generator.ListKeys(keys);
        Vector512<double> factor = Vector512.Create(deviation);
        Vector512<ulong> index = Vector512.Create((ulong)start) + Vector512<ulong>.Indices;
        ref double first = ref MemoryMarshal.GetReference(values);
        int i = 0;
        for (; i <= values.Length - Philox.Lanes; i += Philox.Lanes, index += Vector512.Create((ulong)Philox.Lanes))
        {
            (Vector512<ulong> u, Vector512<ulong> v) = _generator.Draw(index, keys);
            Vector512.FusedMultiplyAdd(Transform(u, v), factor, Vector512.LoadUnsafe(ref first, (nuint)i)).StoreUnsafe(ref first, (nuint)i);
        }

        if (i == values.Length)
            return;
        (Vector512<ulong> lastU, Vector512<ulong> lastV) = _generator.Draw(index, keys);
        Vector512<double> last = Transform(lastU, lastV);
        for (int j = 0; i + j < values.Length; j++)
            values[i + j] = Math.FusedMultiplyAdd(last[j], deviation, values[i + j]);
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
}
