using FedICU.Compute;

namespace FedICU.Tests.Compute;

public sealed unsafe class RoundingTests
{
    [Test]
    public void EveryValueOf16BitsIsWidenedExactly()
    {
        for (int bits = 0; bits <= ushort.MaxValue; bits++)
        {
            ushort element = (ushort)bits;
            double half = (double)BitConverter.UInt16BitsToHalf(element), brain = BitConverter.Int32BitsToSingle(bits << 16);
            double readHalf = Rounding.Read(&element, DType.F16, 0), readBrain = Rounding.Read(&element, DType.BF16, 0);
            Assert.That(readHalf.Equals(half) && readBrain.Equals(brain), () => $"{bits:x4}");
            if (bits is 0 or 0x8000)
                Assert.That(double.IsNegative(Rounding.Read(&element, DType.F16, 0)), Is.EqualTo(bits != 0));
        }
    }

    [Test]
    public void EveryHalfwayCaseIsRoundedOnce([Values(DType.F16, DType.BF16)] DType dtype)
    {
        (double[] values, ushort[] expected) = NarrowingCases.All(dtype);
        ushort element;
        for (int i = 0; i < values.Length; i++)
        {
            Rounding.Write(&element, dtype, 0, values[i]);
            if (element != expected[i])
                Assert.Fail($"{values[i]:R} to {dtype}: {element:x4}, not {expected[i]:x4}");
        }
    }

    [Test]
    public void NaNIsWrittenWithoutSignAndPayload()
    {
        double nan = BitConverter.Int64BitsToDouble(-3), element = 0;
        (DType, long)[] expected = [(DType.F64, 0x7FF8L << 48), (DType.F32, 0x7FC0_0000), (DType.F16, 0x7E00), (DType.BF16, 0x7FC0)];
        foreach ((DType dtype, long bits) in expected)
        {
            element = 0;
            Rounding.Write(&element, dtype, 0, nan);
            Assert.That(BitConverter.DoubleToInt64Bits(element), Is.EqualTo(bits), $"{dtype}");
        }
    }

    [Test]
    public void RoundReturnsWhatIsReadBack()
    {
        Assert.That(Rounding.Round(DType.F16, 0.1), Is.EqualTo((double)(Half)0.1));
        Assert.That(Rounding.Round(DType.F32, 0.1), Is.EqualTo((double)0.1f));
        Assert.That(Rounding.Round(DType.BF16, 1 + 1.0 / 256), Is.EqualTo(1));
        Assert.That(Rounding.Round(DType.F64, 0.1), Is.EqualTo(0.1));
        Assert.Throws<ArgumentException>(() => Rounding.Round(DType.I8, 1));
    }
}
