using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace FedICU.Panels;

/// <summary>
/// How many entries of a packed tensor were sent before each block of its mask. The bits, one for each entry and the least significant first, stay in
/// the source: kept in memory they would grow with the clients.
/// </summary>
internal sealed class SparseMask
{
    private const int BlockBytes = 1 << 13;

    // of masks of one block, as most have
    private static readonly long[] OneBlock = [0];

    private readonly long[] _before;

    /// <summary>Reads the whole mask once and counts.</summary>
    public SparseMask(TensorSource source, TensorInfo mask)
    {
        _before = mask.ByteLength < BlockBytes ? OneBlock : new long[mask.ByteLength / BlockBytes + 1];
        byte[] block = new byte[Math.Min(BlockBytes, mask.ByteLength)];
        for (long at = 0; at < mask.ByteLength; at += BlockBytes)
        {
            Span<byte> bits = block.AsSpan(0, (int)Math.Min(BlockBytes, mask.ByteLength - at));
            source.Read(mask, at, bits);
            Count += CountBefore(bits, 8 * bits.Length);
            if (bits.Length == BlockBytes)
                _before[at / BlockBytes + 1] = Count;
            LastByte = bits[^1];
        }
    }

    /// <summary>How many entries were sent.</summary>
    public long Count { get; }

    /// <summary>The mask's last byte, 0 where it has none.</summary>
    public byte LastByte { get; }

    /// <summary>The last entry up to <paramref name="element"/> with a count, and how many were sent before it.</summary>
    public (long Element, long Before) LastUpTo(long element)
    {
        long block = element / (8 * BlockBytes);
        return (block * 8 * BlockBytes, _before[block]);
    }

    /// <summary>How many of the bits before <paramref name="bit"/> are set.</summary>
    public static int CountBefore(ReadOnlySpan<byte> bits, int bit)
    {
        int count = 0;
        ReadOnlySpan<byte> whole = bits[..(bit / 8)];
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(whole);
        foreach (ulong word in words)
            count += BitOperations.PopCount(word);
        foreach (byte rest in whole[(words.Length * sizeof(ulong))..])
            count += BitOperations.PopCount(rest);
        return bit % 8 == 0 ? count : count + BitOperations.PopCount(bits[bit / 8] & ((1u << bit % 8) - 1));
    }

    /// <summary>Puts the packed entries where their bits are: entry i of <paramref name="dense"/> has the bit first + i.</summary>
    public static unsafe void Scatter<T>(ReadOnlySpan<byte> bits, int first, int count, T* packed, T* dense) where T : unmanaged
    {
        const int WordBits = 64;
        int end = first + count;
        for (int at = first & ~7; at < end; at += WordBits)
        {
            ulong word = Word(bits[(at / 8)..]);
            if (at < first)
                word &= ulong.MaxValue << first - at;
            if (end - at < WordBits)
                word &= (1UL << end - at) - 1;
            T* target = dense + (at - first);
            if (word == ulong.MaxValue)
            {
                new ReadOnlySpan<T>(packed, WordBits).CopyTo(new Span<T>(target, WordBits));
                packed += WordBits;
                continue;
            }

            for (; word != 0; word &= word - 1)
                target[BitOperations.TrailingZeroCount(word)] = *packed++;
        }
    }

    private static ulong Word(ReadOnlySpan<byte> bits)
    {
        if (bits.Length >= sizeof(ulong))
            return BinaryPrimitives.ReadUInt64LittleEndian(bits);
        ulong word = 0;
        for (int i = 0; i < bits.Length; i++)
            word |= (ulong)bits[i] << 8 * i;
        return word;
    }
}
