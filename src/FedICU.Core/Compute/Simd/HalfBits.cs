using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute.Simd;

/// <summary>Converts binary16 and bfloat16 in vector registers.</summary>
internal static unsafe class HalfBits
{
    /// <summary>The bits of the positive quiet NaN without payload (double.NaN is negative).</summary>
    public const ulong PlainNaN = 0x7FF8_0000_0000_0000;

    /// <summary>The bits of infinity in binary16.</summary>
    private const uint Infinity = 0x7C00;

    /// <summary>Added to bits of binary32, converts the exponent of binary16 to that of binary32.</summary>
    private const uint Rebias = (127 - 15) << 23;

    /// <summary>The smallest normal binary16, 2^-14.</summary>
    private const float SmallestNormal = 1f / (1 << 14);

    /// <summary>The largest finite binary16.</summary>
    private const float LargestHalf = 65504;

    /// <summary>The largest finite bfloat16, 2^128 - 2^120.</summary>
    private const float LargestBFloat16 = (float)(Rounder.TwoTo128 - 1.329227995784916e+36);

    /// <summary>Loads eight elements of 16 bits, each into a lane of 32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Load256(ushort* source)
    {
        Vector128<ushort> eight = Vector128.Load(source);
        return Avx2.IsSupported
            ? Avx2.ConvertToVector256Int32(eight).AsUInt32()
            : Vector256.Create(Vector128.WidenLower(eight), Vector128.WidenUpper(eight));
    }

    /// <summary>Stores the lower 16 bits of each lane; the upper ones must be zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<uint> eight, ushort* target)
    {
        Vector128<ushort> narrow = Avx512F.VL.IsSupported ? Avx512F.VL.ConvertToVector128UInt16(eight)
            : Sse41.IsSupported ? Sse41.PackUnsignedSaturate(eight.GetLower().AsInt32(), eight.GetUpper().AsInt32())
            : Vector128.Narrow(eight.GetLower(), eight.GetUpper());
        narrow.Store(target);
    }

    /// <summary>Returns whether any element is zero, subnormal, infinite or NaN. Few numbers of a model are.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnySpecial(Vector128<short> eight)
    {
        Vector128<ushort> exponents = (eight & Vector128.Create((short)Infinity)).AsUInt16();
        return Vector128.GreaterThanOrEqualAny(exponents - Vector128.Create((ushort)0x400), Vector128.Create((ushort)(Infinity - 0x400)));
    }

    /// <summary>
    /// Converts normal numbers, whose sign is extended to 64 bits, to binary64. This takes half the steps of
    /// <see cref="Decode(Vector256{uint})"/> and a conversion.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<double> DecodeNormal(Vector512<long> bits)
    {
        const int Fraction = 52 - 10;
        // of the copies of the sign, only the first is kept
        const long Mask = unchecked((long)0x81FF_FFFF_FFFF_FFFF);
        return ((bits << Fraction & Vector512.Create(Mask)) + Vector512.Create((1023L - 15) << 52)).AsDouble();
    }

    /// <inheritdoc cref="DecodeNormal(Vector512{long})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> DecodeNormal(Vector256<long> bits)
    {
        const int Fraction = 52 - 10;
        const long Mask = unchecked((long)0x81FF_FFFF_FFFF_FFFF);
        return ((bits << Fraction & Vector256.Create(Mask)) + Vector256.Create((1023L - 15) << 52)).AsDouble();
    }

    /// <summary>Sets the lanes whose magnitude is larger than <paramref name="largest"/>, infinite or NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Above(Vector256<float> eight, float largest) =>
        Vector256.GreaterThan(Vector256.Abs(eight).AsInt32(), Vector256.Create(largest).AsInt32()).AsUInt32();

    /// <summary>
    /// Rounds binary32 to bfloat16 and stores it. Returns bits in the lanes that are not finite, or halfway between two
    /// bfloat16 values. The rounding from binary64 to binary32 may have moved a value to such a tie; only then do two
    /// roundings differ from one.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreBFloat16(Vector256<float> eight, ushort* target)
    {
        Vector256<uint> bits = eight.AsUInt32();
        Store(bits + Vector256.Create(0x8000u) >>> 16, target);
        return Vector256.Equals(bits << 16, Vector256.Create(0x8000_0000u)) | Above(eight, LargestBFloat16);
    }

    /// <summary>Does the same for binary16; also returns bits in the lanes that are subnormal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> StoreHalf(Vector256<float> eight, ushort* target)
    {
        Vector256<uint> bits = eight.AsUInt32(), magnitude = Vector256.Abs(eight).AsUInt32();
        Vector256<uint> zero = Vector256.Equals(magnitude, Vector256<uint>.Zero);
        Vector256<uint> small = Vector256.LessThan(magnitude.AsInt32(), Vector256.Create(SmallestNormal).AsInt32()).AsUInt32();
        Vector256<uint> half = Vector256.AndNot(magnitude + Vector256.Create(unchecked(0x1000u - Rebias)) >>> 13, zero);
        Store(half | bits >>> 16 & Vector256.Create(0x8000u), target);
        return Vector256.AndNot(small, zero) | Vector256.Equals(bits << 19, Vector256.Create(0x8000_0000u)) | Above(eight, LargestHalf);
    }

    /// <summary>
    /// Converts binary16 to binary32. An addition changes the exponent: once for a number, twice for infinity and NaN.
    /// A subnormal gets the exponent of the smallest normal number, which is then subtracted. This is exact, and avoids
    /// subnormal operands, which are slow on some CPUs.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Decode(Vector256<uint> bits)
    {
        Vector256<uint> magnitude = bits & Vector256.Create(0x7FFFu);
        Vector256<uint> shifted = magnitude << 13;
        Vector256<uint> normal = shifted + Vector256.Create(Rebias);
        Vector256<uint> subnormal = ((normal + Vector256.Create(1u << 23)).AsSingle() - Vector256.Create(SmallestNormal)).AsUInt32();
        Vector256<uint> special = Vector256.GreaterThan(magnitude.AsInt32(), Vector256.Create((int)Infinity - 1)).AsUInt32();
        Vector256<uint> small = Vector256.LessThan(magnitude.AsInt32(), Vector256.Create(0x400)).AsUInt32();
        Vector256<uint> value = Vector256.ConditionalSelect(small, subnormal, normal + (special & Vector256.Create(Rebias)));
        return (value | (bits ^ magnitude) << 16).AsSingle();
    }

    /// <inheritdoc cref="Decode(Vector256{uint})"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Decode(Vector128<uint> bits)
    {
        Vector128<uint> magnitude = bits & Vector128.Create(0x7FFFu);
        Vector128<uint> shifted = magnitude << 13;
        Vector128<uint> normal = shifted + Vector128.Create(Rebias);
        Vector128<uint> subnormal = ((normal + Vector128.Create(1u << 23)).AsSingle() - Vector128.Create(SmallestNormal)).AsUInt32();
        Vector128<uint> special = Vector128.GreaterThan(magnitude.AsInt32(), Vector128.Create((int)Infinity - 1)).AsUInt32();
        Vector128<uint> small = Vector128.LessThan(magnitude.AsInt32(), Vector128.Create(0x400)).AsUInt32();
        Vector128<uint> value = Vector128.ConditionalSelect(small, subnormal, normal + (special & Vector128.Create(Rebias)));
        return (value | (bits ^ magnitude) << 16).AsSingle();
    }

    /// <summary>Converts values that binary16 represents exactly; 65536 and more becomes infinity.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Encode(Vector256<float> value)
    {
        Vector256<float> magnitude = Vector256.Abs(value);
        Vector256<uint> sign = value.AsUInt32() >>> 16 & Vector256.Create(0x8000u);
        Vector256<uint> normal = Vector256.MinNative(magnitude, Vector256.Create(65536f)).AsUInt32() - Vector256.Create(Rebias) >>> 13;
        // the last bit of 0.5 is worth 2^-24, like that of a subnormal binary16
        Vector256<uint> subnormal = (magnitude + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(0.5f).AsUInt32();
        Vector256<uint> small = Vector256.LessThan(magnitude, Vector256.Create(SmallestNormal)).AsUInt32();
        Vector256<uint> number = Vector256.Equals(value, value).AsUInt32();
        return Vector256.ConditionalSelect(number, Vector256.ConditionalSelect(small, subnormal, normal), Vector256.Create(0x7E00u)) | sign;
    }
}
