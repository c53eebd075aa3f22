using System.Runtime.CompilerServices;

namespace FedICU.TestChild;

/// <summary>
/// Creates panels of random bits. It uses no floating-point arithmetic, so that the bits are the same in every process.
/// </summary>
public static unsafe class SamplePanels
{
    /// <summary>Fills a panel with random values.</summary>
    public static void Fill(void* data, DType dtype, int count, Random random, Spread spread)
    {
        var (fractionBits, exponentBits) = dtype switch
        {
            DType.F64 => (52, 11),
            DType.F32 => (23, 8),
            DType.F16 => (10, 5),
            _ => (7, 8),
        };
        for (int i = 0; i < count; i++)
        {
            ulong bits = Bits(random, spread, fractionBits, exponentBits, dtype == DType.F64);
            byte* target = (byte*)data + (long)i * dtype.BitSize / 8;
            switch (dtype)
            {
                case DType.F64: Unsafe.WriteUnaligned(target, bits); break;
                case DType.F32: Unsafe.WriteUnaligned(target, (uint)bits); break;
                default: Unsafe.WriteUnaligned(target, (ushort)bits); break;
            }
        }
    }

    /// <summary>Creates an array of random float64 values.</summary>
    public static double[] Doubles(int count, Random random, Spread spread)
    {
        var values = new double[count];
        fixed (double* data = values)
            Fill(data, DType.F64, count, random, spread);
        return values;
    }

    private static ulong Bits(Random random, Spread spread, int fractionBits, int exponentBits, bool isDouble)
    {
        ulong sign = (ulong)random.Next(2) << exponentBits + fractionBits;
        ulong fraction = (ulong)random.NextInt64() & (1UL << fractionBits) - 1;
        ulong special = (1UL << exponentBits) - 1;
        int bias = (int)(special >> 1);
        if (spread == Spread.Tame)
            return sign | (ulong)(bias + random.Next(-6, 6)) << fractionBits | fraction;
        switch (random.Next(64))
        {
            case 0 or 1: return sign;
            case 2: return sign | 1;
            case 3 or 4: return sign | fraction;                                        // subnormal
            case 5: return sign | (1UL << fractionBits) - 1;                            // the largest subnormal
            case 6 when isDouble && spread == Spread.Wild: break;
            case 6: return sign | (special << fractionBits) - 1;                        // the largest finite
            case 7 when random.Next(8) == 0: return sign | special << fractionBits;
            case 8 when random.Next(8) == 0: return sign | special << fractionBits | fraction | 1UL << random.Next(fractionBits);
        }

        int exponent = isDouble && spread == Spread.Wild ? bias + random.Next(-200, 200) : random.Next((int)special);
        return sign | (ulong)exponent << fractionBits | fraction;
    }
}
