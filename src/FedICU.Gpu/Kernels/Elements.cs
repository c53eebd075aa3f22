using ILGPU;
using ILGPU.Util;

namespace FedICU.Gpu.Kernels;

/// <summary>16 bytes, which a device reads or writes in one access.</summary>
internal struct Words
{
    /// <summary>The size in bytes. Derived: the widest access of a CUDA thread.</summary>
    public const int Bytes = 16;

    /// <summary>The binary logarithm of <see cref="Bytes"/>.</summary>
    public const int Log2Bytes = 4;

    public uint X, Y, Z, W;
}

/// <summary>The values of the elements in 16 bytes: the first two, four or eight fields are used.</summary>
internal struct Values
{
    public double V0, V1, V2, V3, V4, V5, V6, V7;
}

/// <summary>
/// A type of elements. Reading widens exactly to float64. Writing rounds once from float64, ties to even, and writes
/// each NaN as the positive quiet NaN.
/// </summary>
internal interface IElement
{
    /// <summary>Gets the size of an element in bytes.</summary>
    static abstract int Size { get; }

    /// <summary>Gets the binary logarithm of <see cref="Size"/>.</summary>
    static abstract int Log2Size { get; }

    static abstract double Read(ArrayView<byte> data, long index);

    /// <summary>Writes an element. Returns 1 if the written value is not finite, else 0.</summary>
    static abstract int Write(ArrayView<byte> data, long index, double value);

    /// <summary>Copies the bits of an element.</summary>
    static abstract void Copy(ArrayView<byte> source, long index, ArrayView<byte> target, long at);

    static abstract Values Widen(Words words);

    static abstract Words Round(Values values);
}

internal struct F64 : IElement
{
    public static int Size => sizeof(double);

    public static int Log2Size => 3;

    public static double Read(ArrayView<byte> data, long index) => data.Cast<double>()[index];

    public static int Write(ArrayView<byte> data, long index, double value)
    {
        ulong bits = Bits(value);
        data.Cast<ulong>()[index] = bits;
        return (bits & 0x7FF0_0000_0000_0000UL) == 0x7FF0_0000_0000_0000UL ? 1 : 0;
    }

    public static void Copy(ArrayView<byte> source, long index, ArrayView<byte> target, long at) =>
        target.Cast<ulong>()[at] = source.Cast<ulong>()[index];

    public static Values Widen(Words words) => new() { V0 = FromBits(words.X, words.Y), V1 = FromBits(words.Z, words.W) };

    public static Words Round(Values values)
    {
        ulong low = Bits(values.V0), high = Bits(values.V1);
        return new Words { X = (uint)low, Y = (uint)(low >> 32), Z = (uint)high, W = (uint)(high >> 32) };
    }

    private static double FromBits(uint low, uint high) => Interop.IntAsFloat((ulong)high << 32 | low);

    private static ulong Bits(double value)
    {
        ulong bits = Interop.FloatAsInt(value);
        return (bits & 0x7FFF_FFFF_FFFF_FFFFUL) > 0x7FF0_0000_0000_0000UL ? 0x7FF8_0000_0000_0000UL : bits;
    }
}

internal struct F32 : IElement
{
    public static int Size => sizeof(float);

    public static int Log2Size => 2;

    public static double Read(ArrayView<byte> data, long index) => data.Cast<float>()[index];

    public static int Write(ArrayView<byte> data, long index, double value)
    {
        uint bits = Bits(value);
        data.Cast<uint>()[index] = bits;
        return (bits & 0x7F80_0000U) == 0x7F80_0000U ? 1 : 0;
    }

    public static void Copy(ArrayView<byte> source, long index, ArrayView<byte> target, long at) =>
        target.Cast<uint>()[at] = source.Cast<uint>()[index];

    public static Values Widen(Words words) => new()
    {
        V0 = Interop.IntAsFloat(words.X),
        V1 = Interop.IntAsFloat(words.Y),
        V2 = Interop.IntAsFloat(words.Z),
        V3 = Interop.IntAsFloat(words.W),
    };

    public static Words Round(Values values) =>
        new() { X = Bits(values.V0), Y = Bits(values.V1), Z = Bits(values.V2), W = Bits(values.V3) };

    private static uint Bits(double value)
    {
        uint bits = Interop.FloatAsInt((float)value);
        return (bits & 0x7FFF_FFFFU) > 0x7F80_0000U ? 0x7FC0_0000U : bits;
    }
}

internal struct BF16 : IElement
{
    public static int Size => sizeof(ushort);

    public static int Log2Size => 1;

    public static double Read(ArrayView<byte> data, long index) => Interop.IntAsFloat((uint)data.Cast<ushort>()[index] << 16);

    public static int Write(ArrayView<byte> data, long index, double value)
    {
        uint bits = Bits(value);
        data.Cast<ushort>()[index] = (ushort)bits;
        return (bits & 0x7F80U) == 0x7F80U ? 1 : 0;
    }

    public static void Copy(ArrayView<byte> source, long index, ArrayView<byte> target, long at) =>
        target.Cast<ushort>()[at] = source.Cast<ushort>()[index];

    public static Values Widen(Words words) => new()
    {
        V0 = Low(words.X),
        V1 = High(words.X),
        V2 = Low(words.Y),
        V3 = High(words.Y),
        V4 = Low(words.Z),
        V5 = High(words.Z),
        V6 = Low(words.W),
        V7 = High(words.W),
    };

    public static Words Round(Values values) => new()
    {
        X = Bits(values.V0) | Bits(values.V1) << 16,
        Y = Bits(values.V2) | Bits(values.V3) << 16,
        Z = Bits(values.V4) | Bits(values.V5) << 16,
        W = Bits(values.V6) | Bits(values.V7) << 16,
    };

    private static double Low(uint word) => Interop.IntAsFloat(word << 16);

    private static double High(uint word) => Interop.IntAsFloat(word & 0xFFFF_0000U);

    private static uint Bits(double value)
    {
        uint bits = Narrowing.RoundToOdd(value);
        return (bits & 0x7FFF_FFFFU) > 0x7F80_0000U ? 0x7FC0U : bits + 0x7FFFU + (bits >> 16 & 1U) >> 16;
    }
}

internal struct F16 : IElement
{
    public static int Size => sizeof(ushort);

    public static int Log2Size => 1;

    public static double Read(ArrayView<byte> data, long index) => FromBits(data.Cast<ushort>()[index]);

    public static int Write(ArrayView<byte> data, long index, double value)
    {
        uint bits = Bits(value);
        data.Cast<ushort>()[index] = (ushort)bits;
        return (bits & 0x7C00U) == 0x7C00U ? 1 : 0;
    }

    public static void Copy(ArrayView<byte> source, long index, ArrayView<byte> target, long at) =>
        target.Cast<ushort>()[at] = source.Cast<ushort>()[index];

    public static Values Widen(Words words) => new()
    {
        V0 = FromBits(words.X & 0xFFFFU),
        V1 = FromBits(words.X >> 16),
        V2 = FromBits(words.Y & 0xFFFFU),
        V3 = FromBits(words.Y >> 16),
        V4 = FromBits(words.Z & 0xFFFFU),
        V5 = FromBits(words.Z >> 16),
        V6 = FromBits(words.W & 0xFFFFU),
        V7 = FromBits(words.W >> 16),
    };

    public static Words Round(Values values) => new()
    {
        X = Bits(values.V0) | Bits(values.V1) << 16,
        Y = Bits(values.V2) | Bits(values.V3) << 16,
        Z = Bits(values.V4) | Bits(values.V5) << 16,
        W = Bits(values.V6) | Bits(values.V7) << 16,
    };

    // Puts exponent and fraction into a float64, whose exponent is then 1008 too small, and multiplies by 2^1008. This
    // is exact for subnormals too, because no device flushes a subnormal float64. Infinity and NaN get the largest
    // float64 exponent, which the product keeps. The exponent is selected without a branch.
    private static double FromBits(uint bits)
    {
        // 2^1008 = 2^(1023 - 15), the difference of the two exponent biases
        const double BiasDifference = 2.7430620343968443e+303;
        uint high = (bits & 0x7FFFU) << 10 | (bits & 0x8000U) << 16 | Utilities.Select((bits & 0x7C00U) == 0x7C00U, 0x7FF0_0000U, 0U);
        return Interop.IntAsFloat((ulong)high << 32) * BiasDifference;
    }

    private static uint Bits(double value)
    {
        uint bits = Narrowing.RoundToOdd(value), sign = bits >> 16 & 0x8000U, magnitude = bits & 0x7FFF_FFFFU;
        if (magnitude > 0x7F80_0000U)
            return 0x7E00U;
        // 2^16 and above becomes infinity
        if (magnitude >= 0x4780_0000U)
            return sign | 0x7C00U;
        int exponent = (int)(magnitude >> 23) - 127;
        if (exponent < -26)
            return sign;
        uint significand = magnitude & 0x7F_FFFFU | 0x80_0000U;
        int dropped = exponent < -14 ? -1 - exponent : 13;
        uint kept = significand >> dropped, rest = significand & (1U << dropped) - 1U, half = 1U << dropped - 1;
        if (rest > half || rest == half && (kept & 1U) != 0)
            kept++;
        uint biased = exponent < -14 ? 0U : (uint)(exponent + 14) << 10;
        return sign | biased + kept;
    }
}

/// <summary>The first step of rounding to a type of 16 bits.</summary>
internal static class Narrowing
{
    /// <summary>
    /// Returns the bits of the value rounded to odd in binary32. Rounding them to a narrower type gives the same result
    /// as rounding the value itself (Boldo and Melquiond 2008).
    /// </summary>
    public static uint RoundToOdd(double value)
    {
        float nearest = (float)value;
        uint bits = Interop.FloatAsInt(nearest);
        double back = nearest;
        if (back == value || (bits & 0x7FFF_FFFFU) > 0x7F80_0000U)
            return bits;
        if (Math.Abs(back) > Math.Abs(value))
            bits--;
        return bits | 1U;
    }
}
