using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.CompilerServices;
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
