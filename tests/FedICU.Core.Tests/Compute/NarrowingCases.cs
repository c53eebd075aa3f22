using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>
/// For every two neighbors of a 16-bit type, with both signs: the values themselves, the point halfway, and points
/// beside it at a distance of one unit of float64, of a little more, and of about one unit of float32; and the bits
/// that each is rounded to. The cases come once mixed and once kind by kind, because kernels take a shorter way if it
/// serves a whole group of elements.
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

        void AddKind(int bits, int kind)
        {
            double low = Widen(dtype, bits), high = bits + 1 == infinity ? past : Widen(dtype, bits + 1);
            double half = (low + high) / 2, little = (high - low) * Math.ScaleB(1, -25);
            double single = (high - low) * Math.ScaleB(1, dtype == DType.F16 ? -13 : -16);
            (double value, int rounded) = kind switch
            {
                0 => (low, bits),
                1 => (half, (bits & 1) == 0 ? bits : bits + 1),
                2 => (Math.BitIncrement(half), bits + 1),
                3 => (Math.BitDecrement(half), bits),
                4 => (half + little, bits + 1),
                5 => (half - little, bits),
                6 => (Math.BitIncrement(low), bits),
                7 => (Math.BitDecrement(high), bits + 1),
                8 => (half + single, bits + 1),
                9 => (half - single, bits),
                10 => (half + 0.6 * single, bits + 1),
                _ => (half - 0.6 * single, bits),
            };
            Add(value, rounded);
        }

        const int Kinds = 12;
        for (int i = 0; i < infinity * Kinds; i++)
            AddKind(i / Kinds, i % Kinds);
        for (int i = 0; i < infinity * Kinds; i++)
            AddKind(i % infinity, i / infinity);
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
