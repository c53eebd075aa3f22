using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace FedICU.Panels;

/// <summary>
/// Counts of a packed tensor's mask: the number of entries that were sent before each block. The mask has a bit for
/// each entry, least significant first. The bits stay in the source, as in memory they would grow with the number of
/// clients.
/// </summary>
internal sealed class SparseMask
{
    // bytes of a block, which has one count: chosen
    private const int BlockBytes = 1 << 13;

    // the counts of a mask of one block, which most masks have
    private static readonly long[] OneBlock = [0];

    private readonly long[] _before;

    /// <summary>Reads the whole mask once and counts its bits.</summary>
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

    /// <summary>The number of entries that were sent.</summary>
    public long Count { get; }

    /// <summary>The mask's last byte; 0 if it is empty.</summary>
    public byte LastByte { get; }

    /// <summary>
    /// Finds the last entry up to <paramref name="element"/> that has a count, and the number of entries sent before
    /// it.
    /// </summary>
    public (long Element, long Before) FindCount(long element)
    {
        long block = element / (8 * BlockBytes);
        return (block * 8 * BlockBytes, _before[block]);
    }

    /// <summary>Counts the set bits before <paramref name="bit"/>.</summary>
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

    /// <summary>
    /// Copies the packed entries to the places of their bits. Entry i of <paramref name="dense"/> has the bit first +
    /// i.
    /// </summary>
    public static unsafe void Scatter<T>(ReadOnlySpan<byte> bits, int first, int count, T* packed, T* dense) where T : unmanaged
    {
        const int WordBits = 64;
        int end = first + count;
        for (int at = first & ~7; at < end; at += WordBits)
        {
            ulong word = ReadWord(bits[(at / 8)..]);
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

    private static ulong ReadWord(ReadOnlySpan<byte> bits)
    {
        if (bits.Length >= sizeof(ulong))
            return BinaryPrimitives.ReadUInt64LittleEndian(bits);
        ulong word = 0;
        for (int i = 0; i < bits.Length; i++)
            word |= (ulong)bits[i] << 8 * i;
        return word;
    }
}
