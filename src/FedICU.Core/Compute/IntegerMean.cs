using System.Numerics;

namespace FedICU.Compute;

/// <summary>
/// Computes weighted means of integers exactly, without floating-point arithmetic; halves are rounded to even
/// (docs/algorithms.md, Integers and other types).
/// </summary>
internal sealed class IntegerMean
{
    /// <summary>
    /// The largest number of bits of a total for which Int128 is enough. Derived: a 64-bit value times the total must
    /// fit, a delta doubles the value, and rounding doubles the remainder.
    /// </summary>
    private const int MaxSmallBits = 60;

    private readonly BigInteger[] _weights;
    private readonly BigInteger _total;
    private readonly Int128[]? _small;
    private readonly Int128 _smallTotal;

    /// <summary>Converts the weights to integers of one scale: every double is an exact binary fraction.</summary>
    public IntegerMean(IEnumerable<double> weights)
    {
        (long Mantissa, int Exponent)[] parts = [.. weights.Select(Decompose)];
        int least = parts.Min(part => part.Exponent);
        _weights = [.. parts.Select(part => (BigInteger)part.Mantissa << (part.Exponent - least))];
        BigInteger divisor = _weights.Aggregate(BigInteger.Zero, BigInteger.GreatestCommonDivisor);
        _weights = [.. _weights.Select(weight => weight / divisor)];
        _total = _weights.Aggregate(BigInteger.Zero, BigInteger.Add);
        if (_total.GetBitLength() <= MaxSmallBits)
            (_small, _smallTotal) = ([.. _weights.Select(weight => (Int128)weight)], (Int128)_total);
    }

    /// <summary>Computes the mean of values, one for each weight.</summary>
    public Int128 Of(ReadOnlySpan<Int128> values)
    {
        if (_small is null)
            return OfLarge(values);
        Int128 sum = 0;
        for (int k = 0; k < values.Length; k++)
            sum += _small[k] * values[k];
        (Int128 floor, Int128 rest) = Int128.DivRem(sum, _smallTotal);
        if (rest < 0)
            (floor, rest) = (floor - 1, rest + _smallTotal);
        Int128 twice = 2 * rest;
        return twice > _smallTotal || twice == _smallTotal && (floor & 1) != 0 ? floor + 1 : floor;
    }

    private Int128 OfLarge(ReadOnlySpan<Int128> values)
    {
        BigInteger sum = 0;
        for (int k = 0; k < values.Length; k++)
            sum += _weights[k] * (BigInteger)values[k];
        BigInteger floor = BigInteger.DivRem(sum, _total, out BigInteger rest);
        if (rest.Sign < 0)
            (floor, rest) = (floor - 1, rest + _total);
        int half = (2 * rest).CompareTo(_total);
        return (Int128)(half > 0 || half == 0 && !floor.IsEven ? floor + 1 : floor);
    }

    /// <summary>Reads an element.</summary>
    public static unsafe Int128 Read(TensorPanel panel, long i) => panel.DType switch
    {
        DType.I64 => ((long*)panel.Data)[i],
        DType.I32 => ((int*)panel.Data)[i],
        DType.I16 => ((short*)panel.Data)[i],
        DType.I8 => ((sbyte*)panel.Data)[i],
        DType.U64 => ((ulong*)panel.Data)[i],
        DType.U32 => ((uint*)panel.Data)[i],
        DType.U16 => ((ushort*)panel.Data)[i],
        DType.U8 => ((byte*)panel.Data)[i],
        _ => throw new ArgumentOutOfRangeException(nameof(panel), panel.DType, "An integer type was expected."),
    };

    /// <summary>Writes an element; returns false if the value does not fit the type.</summary>
    public static unsafe bool TryWrite(TensorPanel panel, long i, Int128 value)
    {
        (Int128 least, Int128 most) = panel.DType switch
        {
            DType.I64 => (long.MinValue, (Int128)long.MaxValue),
            DType.I32 => (int.MinValue, int.MaxValue),
            DType.I16 => (short.MinValue, short.MaxValue),
            DType.I8 => (sbyte.MinValue, sbyte.MaxValue),
            DType.U64 => (0, (Int128)ulong.MaxValue),
            DType.U32 => (0, (Int128)uint.MaxValue),
            DType.U16 => (0, (Int128)ushort.MaxValue),
            _ => (0, (Int128)byte.MaxValue),
        };
        if (value < least || value > most)
            return false;
        switch (panel.DType.BitSize)
        {
            case 64: ((ulong*)panel.Data)[i] = unchecked((ulong)value); break;
            case 32: ((uint*)panel.Data)[i] = unchecked((uint)value); break;
            case 16: ((ushort*)panel.Data)[i] = unchecked((ushort)value); break;
            default: ((byte*)panel.Data)[i] = unchecked((byte)value); break;
        }

        return true;
    }

    private static (long Mantissa, int Exponent) Decompose(double weight)
    {
        long bits = BitConverter.DoubleToInt64Bits(weight);
        int exponent = (int)(bits >> 52) & 0x7FF;
        long fraction = bits & ((1L << 52) - 1);
        return exponent == 0 ? (fraction, -1074) : (fraction | 1L << 52, exponent - 1075);
    }
}
