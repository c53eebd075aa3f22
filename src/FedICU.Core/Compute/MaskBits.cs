using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute;

/// <summary>
/// Moves the elements that a bit mask selects: eight bits to a byte, the least significant first. Elements of 2, 4 and
/// 8 bytes are copied unchanged, so the result is the same on every CPU.
/// </summary>
internal static unsafe class MaskBits
{
    /// <summary>
    /// The bytes that <see cref="Pack(void*, int, int, byte*, void*)"/> may write past the last element it packs.
    /// Derived: a vector of eight elements of 8 bytes.
    /// </summary>
    public const int Slack = 64;

    // for each byte of a mask, the indices of its set bits, one byte each
    private static readonly ulong[] SetBits = [.. Enumerable.Range(0, 256).Select(FindSetBits)];

    /// <summary>Counts the set bits.</summary>
    public static long Count(ReadOnlySpan<byte> mask)
    {
        long count = 0;
        while (mask.Length >= sizeof(ulong))
        {
            count += BitOperations.PopCount(BitConverter.ToUInt64(mask));
            mask = mask[sizeof(ulong)..];
        }

        foreach (byte bits in mask)
            count += BitOperations.PopCount(bits);
        return count;
    }

    /// <summary>Copies the selected elements one after the other, in order.</summary>
    /// <param name="source">The elements.</param>
    /// <param name="size">The bytes of an element: 2, 4 or 8.</param>
    /// <param name="length">The number of elements.</param>
    /// <param name="mask">Their bits; bits past the last element are zero.</param>
    /// <param name="packed">Receives the selected elements, and up to <see cref="Slack"/> bytes after them.</param>
    public static void Pack(void* source, int size, int length, byte* mask, void* packed)
    {
        switch (size)
        {
            case sizeof(ushort): Pack((ushort*)source, length, mask, (ushort*)packed); break;
            case sizeof(uint): Pack((uint*)source, length, mask, (uint*)packed); break;
            default: Pack((ulong*)source, length, mask, (ulong*)packed); break;
        }
    }

    /// <summary>Computes target[i] = selected[i] if the bit is set, otherwise others[i].</summary>
    /// <param name="selected">The elements to take if the bit is set.</param>
    /// <param name="others">The elements to take otherwise; null: zeros.</param>
    /// <param name="size">The bytes of an element: 2, 4 or 8.</param>
    /// <param name="length">The number of elements.</param>
    /// <param name="mask">Their bits.</param>
    /// <param name="target">Receives the elements.</param>
    public static void Blend(void* selected, void* others, int size, int length, byte* mask, void* target)
    {
        switch (size)
        {
            case sizeof(ushort): Blend((ushort*)selected, (ushort*)others, length, mask, (ushort*)target); break;
            case sizeof(uint): Blend((uint*)selected, (uint*)others, length, mask, (uint*)target); break;
            default: Blend((ulong*)selected, (ulong*)others, length, mask, (ulong*)target); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pack<T>(T* source, int length, byte* mask, T* packed) where T : unmanaged
    {
        nint i = 0;
        for (; i <= length - 8; i += 8)
        {
            byte bits = mask[i / 8];
            if (sizeof(T) == sizeof(ushort) && Avx512Vbmi2.VL.IsSupported)
                Avx512Vbmi2.VL.Compress(Vector128<ushort>.Zero, Words(bits), Vector128.Load((ushort*)(source + i))).Store((ushort*)packed);
            else if (sizeof(T) == sizeof(ushort) && Ssse3.IsSupported)
                Vector128.Shuffle(Vector128.Load((ushort*)(source + i)), Vector128.WidenLower(LoadSetBits(bits))).Store((ushort*)packed);
            else if (sizeof(T) == sizeof(uint) && Avx512F.VL.IsSupported)
                Avx512F.VL.Compress(Vector256<uint>.Zero, Singles(bits), Vector256.Load((uint*)(source + i))).Store((uint*)packed);
            else if (sizeof(T) == sizeof(uint) && Avx2.IsSupported)
                Avx2.PermuteVar8x32(Vector256.Load((int*)(source + i)), Avx2.ConvertToVector256Int32(LoadSetBits(bits)))
                    .Store((int*)packed);
            else if (sizeof(T) == sizeof(ulong) && Avx512F.IsSupported)
                Avx512F.Compress(Vector512<ulong>.Zero, Doubles(bits), Vector512.Load((ulong*)(source + i))).Store((ulong*)packed);
            else
                PackEight(source + i, bits, packed);
            packed += BitOperations.PopCount(bits);
        }

        for (; i < length; i++)
        {
            *packed = source[i];
            packed += mask[i / 8] >> (int)(i % 8) & 1;
        }
    }

    /// <summary>
    /// Writes every element, and overwrites it with the next if it is not selected: there is no branch to mispredict.
    /// </summary>
    private static void PackEight<T>(T* source, uint bits, T* packed) where T : unmanaged
    {
        for (int j = 0; j < 8; j++, bits >>= 1)
        {
            *packed = source[j];
            packed += bits & 1;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Blend<T>(T* selected, T* others, int length, byte* mask, T* target) where T : unmanaged
    {
        nint i = 0;
        for (; i <= length - 8; i += 8)
        {
            byte bits = mask[i / 8];
            if (sizeof(T) == sizeof(ushort))
            {
                Vector128<ushort> rest = others == null ? default : Vector128.Load((ushort*)(others + i));
                Vector128.ConditionalSelect(Words(bits), Vector128.Load((ushort*)(selected + i)), rest).Store((ushort*)(target + i));
            }
            else if (sizeof(T) == sizeof(uint))
            {
                Vector256<uint> rest = others == null ? default : Vector256.Load((uint*)(others + i));
                Vector256.ConditionalSelect(Singles(bits), Vector256.Load((uint*)(selected + i)), rest).Store((uint*)(target + i));
            }
            else
            {
                Vector512<ulong> rest = others == null ? default : Vector512.Load((ulong*)(others + i));
                Vector512.ConditionalSelect(Doubles(bits), Vector512.Load((ulong*)(selected + i)), rest).Store((ulong*)(target + i));
            }
        }

        for (; i < length; i++)
            target[i] = (mask[i / 8] >> (int)(i % 8) & 1) != 0 ? selected[i] : others == null ? default : others[i];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> Words(byte bits)
    {
        Vector128<ushort> each = Vector128.Create((ushort)1, 2, 4, 8, 16, 32, 64, 128);
        return Vector128.Equals(Vector128.Create((ushort)bits) & each, each);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Singles(byte bits)
    {
        Vector256<uint> each = Vector256.Create(1u, 2, 4, 8, 16, 32, 64, 128);
        return Vector256.Equals(Vector256.Create((uint)bits) & each, each);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Doubles(byte bits)
    {
        Vector512<ulong> each = Vector512.Create(1ul, 2, 4, 8, 16, 32, 64, 128);
        return Vector512.Equals(Vector512.Create((ulong)bits) & each, each);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> LoadSetBits(byte bits) => Vector128.CreateScalarUnsafe(SetBits[bits]).AsByte();

    private static ulong FindSetBits(int bits)
    {
        ulong indices = 0;
        for (int index = 0, shift = 0; index < 8; index++)
        {
            if ((bits >> index & 1) == 0)
                continue;
            indices |= (ulong)index << shift;
            shift += 8;
        }

        return indices;
    }
}
