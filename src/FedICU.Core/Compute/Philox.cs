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
/// The generator Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011). Its random words depend only on a seed, the name of
/// a stream and an index: seed and name give the key and the upper half of the counter, the index gives the lower half.
/// </summary>
internal readonly unsafe struct Philox
{
    /// <summary>
    /// The indices whose words are computed side by side: those of the widest vectors. Other CPUs take as many in
    /// several registers.
    /// </summary>
    public const int Lanes = 8;

    /// <summary>The number of keys that <see cref="ListKeys"/> writes: a pair for each round.</summary>
    public const int KeyCount = 2 * Rounds;

    // Philox 4x32's multipliers, its key increments and its number of rounds (Salmon et al. 2011)
    private const ulong Multiplier0 = 0xD2511F53;
    private const ulong Multiplier1 = 0xCD9E8D57;
    private const uint Increment0 = 0x9E3779B9;
    private const uint Increment1 = 0xBB67AE85;
    private const int Rounds = 10;

    private readonly uint _key0, _key1;
    private readonly ulong _stream;

    /// <summary>
    /// Creates the generator of a tensor for a purpose: the stream is named tensor NUL purpose NUL number.
    /// </summary>
    public Philox(long seed, string tensor, string purpose, long number)
        : this(seed, string.Create(CultureInfo.InvariantCulture, $"{tensor}\0{purpose}\0{number}"))
    {
    }

    /// <summary>Creates the generator of a stream.</summary>
    public Philox(long seed, string stream)
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

    /// <summary>Writes each round's pair of keys, which <see cref="Draw"/> takes.</summary>
    public void ListKeys(ulong* keys)
    {
        for (uint round = 0; round < Rounds; round++)
        {
            keys[2 * round] = unchecked(_key0 + round * Increment0);
            keys[2 * round + 1] = unchecked(_key1 + round * Increment1);
        }
    }

    /// <summary>
    /// Computes the two random words of 64 bits of each index. A lane holds a word of the counter in its lower half.
    /// The upper half may hold anything, as the multiplication ignores it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public (Vector512<ulong> First, Vector512<ulong> Second) Draw(Vector512<ulong> index, ulong* keys)
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

    /// <summary>Finds out which indices have a first word below a limit.</summary>
    /// <param name="start">The first index.</param>
    /// <param name="limit">The limit.</param>
    /// <param name="masks">Receives all bits or none for each index; a multiple of <see cref="Quad.Lanes"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void FindBelow(long start, ulong limit, Span<ulong> masks)
    {
        ulong* keys = stackalloc ulong[KeyCount];
        ListKeys(keys);
        ref ulong first = ref MemoryMarshal.GetReference(masks);
        Vector512<ulong> index = Vector512.Create((ulong)start) + Vector512<ulong>.Indices, least = Vector512.Create(limit);
        if (start >>> 32 != start + masks.Length - 1 >>> 32)
        {
            for (nuint i = 0; i < (nuint)masks.Length; i += Lanes, index += Vector512.Create((ulong)Lanes))
                Vector512.LessThan(Draw(index, keys).First, least).StoreUnsafe(ref first, i);
            return;
        }

        SharedWords shared = Share(start, keys);
        Quad product = BeginFirst((ulong)start);
        for (nuint i = 0; i < (nuint)masks.Length; i += Quad.Lanes)
            DrawFirst(ref product, shared, keys).StoreBelow(least, ref first, i);
    }

    /// <summary>
    /// Computes what the first words of indices have in common whose upper 32 bits are the same: of the counter only
    /// the lowest word differs.
    /// </summary>
    public SharedWords Share(long start, ulong* keys)
    {
        uint upper = (uint)(start >>> 32), stream0 = (uint)_stream, stream1 = (uint)(_stream >> 32);
        ulong same1 = Multiplier1 * stream0, same0 = Multiplier0 * (uint)((same1 >> 32) ^ upper ^ keys[0]);
        return new()
        {
            First = stream1 ^ keys[1],
            Second = (uint)same1 ^ keys[2],
            Third = (same0 >> 32) ^ keys[3],
            Fourth = (uint)same0 ^ keys[5],
        };
    }

    /// <summary>Computes the products of indices from which <see cref="DrawFirst"/> begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad BeginFirst(ulong start) =>
        Quad.FromIndex(Vector512.Create(start) + Vector512<ulong>.Indices).Multiply(Multiplier0);

    /// <summary>Computes the first words of indices. What they do not need is left out.</summary>
    /// <param name="product">The products of the indices, which are moved to the next ones.</param>
    /// <param name="shared">What the indices have in common.</param>
    /// <param name="keys">The keys.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad DrawFirst(ref Quad product, in SharedWords shared, ulong* keys)
    {
        Quad p0 = product;
        product = product.Add(Quad.Lanes * Multiplier0);
        Quad c2 = p0.UpperXor(shared.First);
        Quad p1 = c2.Multiply(Multiplier1);
        Quad c0 = p1.UpperXor(shared.Second), c1 = p1;
        c2 = p0.Xor(shared.Third);
        p0 = c0.Multiply(Multiplier0);
        p1 = c2.Multiply(Multiplier1);
        (c0, c2, c1) = (p1.UpperXor(c1, keys[4]), p0.UpperXor(shared.Fourth), p1);
        Quad c3 = p0;
        for (int round = 3; round < Rounds - 2; round++)
        {
            p0 = c0.Multiply(Multiplier0);
            p1 = c2.Multiply(Multiplier1);
            (c0, c2) = (p1.UpperXor(c1, keys[2 * round]), p0.UpperXor(c3, keys[2 * round + 1]));
            (c1, c3) = (p1, p0);
        }

        p0 = c0.Multiply(Multiplier0);
        c1 = c2.Multiply(Multiplier1);
        p1 = p0.UpperXor(c3, keys[KeyCount - 3]).Multiply(Multiplier1);
        // the upper half is the word c0, the lower half c1
        return p1.XorToUpper(c1, keys[KeyCount - 2]);
    }

    /// <summary>Multiplies the lower 32 bits of the words to 64 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<ulong> MultiplyLower(Vector512<ulong> left, Vector512<ulong> right)
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
    internal static Vector512<ulong> UpperHalves(Vector512<ulong> value) =>
        Avx512F.IsSupported ? Avx512F.Shuffle(value.AsUInt32(), 0b11_11_01_01).AsUInt64() : value >>> 32;

    /// <summary>What <see cref="DrawFirst"/> need not compute for each index.</summary>
    public struct SharedWords
    {
        /// <summary>Words that are xored in the first rounds.</summary>
        public ulong First, Second, Third, Fourth;
    }

    /// <summary>
    /// Four vectors of words. Their steps alternate in the program, so that the CPU need not wait for the result of one
    /// multiplication before it begins the next.
    /// </summary>
    public readonly struct Quad(Vector512<ulong> a, Vector512<ulong> b, Vector512<ulong> c, Vector512<ulong> d)
    {
        /// <summary>The words of the four vectors.</summary>
        public const int Lanes = 4 * Philox.Lanes;

        private readonly Vector512<ulong> _a = a, _b = b, _c = c, _d = d;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Quad FromIndex(Vector512<ulong> index) => new(
            index, index + Vector512.Create((ulong)Philox.Lanes), index + Vector512.Create(2UL * Philox.Lanes),
            index + Vector512.Create(3UL * Philox.Lanes));

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Quad Multiply(ulong multiplier)
        {
            Vector512<ulong> all = Vector512.Create(multiplier);
            return new(MultiplyLower(all, _a), MultiplyLower(all, _b), MultiplyLower(all, _c), MultiplyLower(all, _d));
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Quad Add(ulong word)
        {
            Vector512<ulong> all = Vector512.Create(word);
            return new(_a + all, _b + all, _c + all, _d + all);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Quad Xor(ulong word)
        {
            Vector512<ulong> all = Vector512.Create(word);
            return new(_a ^ all, _b ^ all, _c ^ all, _d ^ all);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Quad UpperXor(ulong word)
        {
            Vector512<ulong> all = Vector512.Create(word);
            return new(UpperHalves(_a) ^ all, UpperHalves(_b) ^ all, UpperHalves(_c) ^ all, UpperHalves(_d) ^ all);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Quad UpperXor(Quad other, ulong word)
        {
            Vector512<ulong> all = Vector512.Create(word);
            return new(
                Xor(UpperHalves(_a), other._a, all), Xor(UpperHalves(_b), other._b, all), Xor(UpperHalves(_c), other._c, all),
                Xor(UpperHalves(_d), other._d, all));
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Quad XorToUpper(Quad other, ulong word)
        {
            Vector512<ulong> all = Vector512.Create(word << 32);
            return new(
                Xor(_a, other._a << 32, all), Xor(_b, other._b << 32, all), Xor(_c, other._c << 32, all), Xor(_d, other._d << 32, all));
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void StoreBelow(Vector512<ulong> limit, ref ulong target, nuint offset)
        {
            Vector512.LessThan(_a, limit).StoreUnsafe(ref target, offset);
            Vector512.LessThan(_b, limit).StoreUnsafe(ref target, offset + Philox.Lanes);
            Vector512.LessThan(_c, limit).StoreUnsafe(ref target, offset + 2 * Philox.Lanes);
            Vector512.LessThan(_d, limit).StoreUnsafe(ref target, offset + 3 * Philox.Lanes);
        }

        // the truth table of an exclusive or of three
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static Vector512<ulong> Xor(Vector512<ulong> x, Vector512<ulong> y, Vector512<ulong> z) =>
            Avx512F.IsSupported ? Avx512F.TernaryLogic(x, y, z, 0x96) : x ^ y ^ z;
    }
}
