namespace FedICU.Compute;

/// <summary>
/// Converts single elements: widens them exactly to float64, and rounds float64 correctly, once (ties to even, overflow
/// to infinity). Every NaN is written as the positive quiet NaN without payload, so that outputs have the same bits
/// whichever instruction computed it.
/// </summary>
internal static unsafe class Rounding
{
    /// <summary>Reads an element and widens it exactly to float64.</summary>
    public static double Read(void* data, DType dtype, long index) => dtype switch
    {
        DType.F64 => ((double*)data)[index],
        DType.F32 => ((float*)data)[index],
        DType.F16 => FromHalf(((ushort*)data)[index]),
        DType.BF16 => FromBFloat16(((ushort*)data)[index]),
        _ => throw NotComputed(dtype),
    };

    /// <summary>Writes a value, rounded once to the type.</summary>
    public static void Write(void* data, DType dtype, long index, double value)
    {
        switch (dtype)
        {
            case DType.F64: ((double*)data)[index] = ToDouble(value); break;
            case DType.F32: ((float*)data)[index] = ToSingle(value); break;
            case DType.F16: ((ushort*)data)[index] = ToHalf(value); break;
            case DType.BF16: ((ushort*)data)[index] = ToBFloat16(value); break;
            default: throw NotComputed(dtype);
        }
    }

    /// <summary>Rounds a value to a type and widens it again.</summary>
    public static double Round(DType dtype, double value)
    {
        double element = 0;
        Write(&element, dtype, 0, value);
        return Read(&element, dtype, 0);
    }

    /// <summary>Converts binary16 to float64, exactly; includes subnormals, infinities and NaNs.</summary>
    public static double FromHalf(ushort bits)
    {
        int exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
        double magnitude = exponent switch
        {
            0 => fraction * (1.0 / (1 << 24)),
            // double.NaN is negative; the sign is set below, and MiddleMean orders by it
            31 => fraction == 0 ? double.PositiveInfinity : ToDouble(double.NaN),
            _ => BitConverter.Int64BitsToDouble((long)(exponent - 15 + 1023) << 52 | (long)fraction << 42),
        };
        return (bits & 0x8000) == 0 ? magnitude : -magnitude;
    }

    /// <summary>Converts bfloat16 to float64, exactly.</summary>
    public static double FromBFloat16(ushort bits) => BitConverter.Int32BitsToSingle(bits << 16);

    /// <summary>Replaces every NaN by the same one.</summary>
    public static double ToDouble(double value) => double.IsNaN(value) ? BitConverter.Int64BitsToDouble(0x7FF8_0000_0000_0000) : value;

    /// <summary>Rounds float64 to binary32.</summary>
    public static float ToSingle(double value) => double.IsNaN(value) ? BitConverter.Int32BitsToSingle(0x7FC0_0000) : (float)value;

    /// <summary>Rounds float64 to bfloat16.</summary>
    public static ushort ToBFloat16(double value)
    {
        if (double.IsNaN(value))
            return 0x7FC0;
        uint bits = ToOdd(value);
        return (ushort)(bits + 0x7FFF + (bits >> 16 & 1) >> 16);
    }

    /// <summary>Rounds float64 to binary16.</summary>
    public static ushort ToHalf(double value)
    {
        if (double.IsNaN(value))
            return 0x7E00;
        uint bits = ToOdd(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFF_FFFF;
        if (magnitude >= 0x4780_0000)                           // 2^16 and above
            return (ushort)(sign | 0x7C00);
        int exponent = (int)(magnitude >> 23) - 127;
        if (exponent < -26)
            return (ushort)sign;
        // the lowest bits of the significand are dropped: 13 of a normal number, more of a subnormal one
        uint significand = magnitude & 0x7F_FFFF | 0x80_0000;
        int dropped = 13 + Math.Max(0, -14 - exponent);
        uint kept = significand >> dropped, rest = significand & (1u << dropped) - 1, half = 1u << dropped - 1;
        if (rest > half || rest == half && (kept & 1) != 0)
            kept++;
        // a carry out of the fraction goes into the exponent, up to infinity
        uint biased = exponent < -14 ? 0 : (uint)(exponent + 14) << 10;
        return (ushort)(sign | biased + kept);
    }

    /// <summary>
    /// Rounds a value to binary32 "to odd" and returns its bits: exact if it fits, otherwise the neighbor whose last
    /// bit is one. Rounding that to a type with at least two bits less is the same as rounding the value itself (Boldo
    /// and Melquiond 2008).
    /// </summary>
    private static uint ToOdd(double value)
    {
        float nearest = (float)value;
        uint bits = BitConverter.SingleToUInt32Bits(nearest);
        if (nearest == value)
            return bits;
        if (Math.Abs((double)nearest) > Math.Abs(value))
            bits--;                                             // toward zero; from infinity to the largest finite value
        return bits | 1;
    }

    /// <summary>Creates the exception for a panel whose type is not computed with.</summary>
    public static ArgumentException NotComputed(DType dtype) => new($"{dtype} is not a type to compute with: F64, F32, F16 and BF16 are.");
}
