using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>
/// For every two neighbours of a 16-bit type: themselves, the point halfway, and points beside it by one unit of float64 and by a little more; with both
/// signs; and the bits each must be rounded to.
/// </summary>
internal static class NarrowingCases
{
    public static (double[] Values, ushort[] Expected) All(DType dtype)
    {
        int infinity = dtype == DType.F16 ? 0x7C00 : 0x7F80;
        double past = dtype == DType.F16 ? 65536 : Math.ScaleB(1, 128);
        var values = new List<double>();
        var expected = new List<ushort>();
        void Add(double value, int bits)
        {
            values.Add(value);
            expected.Add((ushort)bits);
            values.Add(-value);
            expected.Add((ushort)(bits | 0x8000));
        }

        for (int bits = 0; bits < infinity; bits++)
        {
            double low = Widen(dtype, bits), high = bits + 1 == infinity ? past : Widen(dtype, bits + 1);
            double half = (low + high) / 2, little = (high - low) * Math.ScaleB(1, -25);
            Add(low, bits);
            Add(half, (bits & 1) == 0 ? bits : bits + 1);
            Add(Math.BitIncrement(half), bits + 1);
            Add(Math.BitDecrement(half), bits);
            Add(half + little, bits + 1);
            Add(half - little, bits);
            Add(Math.BitIncrement(low), bits);
            Add(Math.BitDecrement(high), bits + 1);
        }

        Add(past, infinity);
        Add(past * 1.5, infinity);
        Add(double.MaxValue, infinity);
        Add(double.PositiveInfinity, infinity);
        Add(double.Epsilon, 0);
        Add(Math.ScaleB(1, -1022), 0);
        values.Add(double.NaN);
        expected.Add((ushort)(dtype == DType.F16 ? 0x7E00 : 0x7FC0));
        values.Add(BitConverter.Int64BitsToDouble(-1));
        expected.Add(expected[^1]);
        return ([.. values], [.. expected]);
    }

    private static double Widen(DType dtype, int bits) =>
        dtype == DType.F16 ? (double)BitConverter.UInt16BitsToHalf((ushort)bits) : BitConverter.Int32BitsToSingle(bits << 16);
}
