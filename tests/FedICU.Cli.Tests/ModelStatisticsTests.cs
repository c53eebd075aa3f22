using System.Runtime.InteropServices;

namespace FedICU.Cli.Tests;

/// <summary>Tests the library's statistics that <c>inspect</c> and <c>diff</c> show.</summary>
public sealed class ModelStatisticsTests
{
    [Test]
    public void MeasuresNumbers()
    {
        TensorStatistics statistics = Measure([3f, -4f, 0f]);
        Assert.That((statistics.Norm, statistics.Minimum, statistics.Maximum, statistics.NonFinite), Is.EqualTo((5.0, -4.0, 3.0, 0L)));
        Assert.That(statistics.Mean, Is.EqualTo(-1 / 3.0));
    }

    [Test]
    public void LeavesOutValuesThatAreNotFinite()
    {
        TensorStatistics statistics = Measure([float.NaN, 6, float.PositiveInfinity, 8, float.NegativeInfinity]);
        Assert.That(
            (statistics.Norm, statistics.Minimum, statistics.Maximum, statistics.Mean, statistics.NonFinite),
            Is.EqualTo((10.0, 6.0, 8.0, 7.0, 3L)));
    }

    [Test]
    public void HasNoFiguresWithoutFiniteValues()
    {
        foreach (float[] values in (float[][])[[], [float.NaN]])
        {
            TensorStatistics statistics = Measure(values);
            Assert.That(
                (statistics.Norm, statistics.Minimum, statistics.Maximum, statistics.Mean, statistics.NonFinite),
                Is.EqualTo((0.0, (double?)null, (double?)null, (double?)null, values.Length)));
        }
    }

    [TestCase(double.MaxValue, double.MaxValue, double.MaxValue)]
    [TestCase(-double.MaxValue, double.MaxValue, 0)]
    [TestCase(1.5e308, 0.5e308, 1e308)]
    public void AMeanThatFitsFloat64DoesNotOverflow(double a, double b, double mean) =>
        Assert.That(Measure([a, b]).Mean, Is.EqualTo(mean).Within(1).Ulps);

    [TestCase(3e300, 4e300, 5e300)]
    [TestCase(3e-300, 4e-300, 5e-300)]
    [TestCase(3e300, 1e-300, 3e300)]
    [TestCase(double.MaxValue, 0, double.MaxValue)]
    [TestCase(double.Epsilon, 0, double.Epsilon)]
    [TestCase(3, 4, 5)]
    public void ANormNeitherOverflowsNorUnderflows(double a, double b, double norm) =>
        Assert.That(Measure([a, b]).Norm, Is.EqualTo(norm).Within(1).Ulps);

    [Test]
    public void ANormAcrossAScalingThresholdIsCorrect()
    {
        foreach (int exponent in (int[])[480, -480])
        {
            double low = Math.ScaleB(0.99, exponent), high = Math.ScaleB(1.01, exponent);
            double expected = Math.ScaleB(Math.Sqrt(0.99 * 0.99 + 1.01 * 1.01), exponent);
            Assert.That(Measure([low, high]).Norm, Is.EqualTo(expected).Within(2).Ulps);
        }
    }

    [Test]
    public void MeasuresEveryPanelOfALargeTensor()
    {
        float[] values = new float[200_003];
        values[^1] = 2;
        values[65_536] = -1;
        TensorStatistics statistics = Measure(values);
        Assert.That((statistics.Minimum, statistics.Maximum, statistics.Norm), Is.EqualTo((-1.0, 2.0, Math.Sqrt(5))));
    }

    [Test]
    public void MeasuresEveryDecodedType()
    {
        Assert.That(Measure([(Half)2, (Half)(-1)]).Minimum, Is.EqualTo(-1));
        Assert.That(Measure([long.MinValue, 5]).Minimum, Is.EqualTo(-Math.ScaleB(1, 63)));
        Assert.That(Measure([ulong.MaxValue]).Maximum, Is.EqualTo(Math.ScaleB(1, 64)));
        Assert.That(Measure([(sbyte)-7, (sbyte)3]).Minimum, Is.EqualTo(-7));
        Assert.That(Measure([true, false]), Is.EqualTo(new TensorStatistics { Name = "t", Elements = 2 }));
        // 1 and -2 in bfloat16
        var model = new MemoryModel();
        model.Add(new TensorInfo("t", DType.BF16, new TensorShape(2)), new byte[] { 0x80, 0x3F, 0x00, 0xC0 });
        Assert.That(ModelStatistics.Measure(model, model.Tensors[0]).Minimum, Is.EqualTo(-2));
    }

    [Test]
    public void ComparesNumbers()
    {
        TensorDifference difference = Compare([1f, 2f, -3f, 0f], [1f, 2.5f, 3f, -0f]);
        Assert.That(
            (difference.Elements, difference.DifferentElements, difference.MaxAbsolute, difference.MaxRelative),
            Is.EqualTo((4L, 2L, 6.0, 2.0)));
    }

    [Test]
    public void ANaNEqualsANaNOnly()
    {
        Assert.That(Compare([float.NaN, float.PositiveInfinity], [-float.NaN, float.PositiveInfinity]).DifferentElements, Is.Zero);
        foreach (float other in (float[])[1, float.NaN])
        {
            TensorDifference difference = Compare([float.PositiveInfinity, 1], [other, 1f]);
            Assert.That(
                (difference.DifferentElements, difference.MaxAbsolute, difference.MaxRelative),
                Is.EqualTo((1L, double.PositiveInfinity, double.PositiveInfinity)));
        }
    }

    [Test]
    public void IntegersAreComparedExactly()
    {
        TensorDifference difference = Compare([1L << 62, long.MinValue], [(1L << 62) + 1, long.MaxValue]);
        Assert.That((difference.DifferentElements, difference.MaxAbsolute), Is.EqualTo((2L, Math.ScaleB(1, 64))));
        Assert.That(Compare([1L << 62], [(1L << 62) + 1]).MaxAbsolute, Is.EqualTo(1));
        Assert.That(Compare([-1], [uint.MaxValue]).MaxAbsolute, Is.EqualTo(Math.ScaleB(1, 32)));
    }

    [Test]
    public void TheLargestDifferenceOverflowsButItsRatioDoesNot()
    {
        TensorDifference difference = Compare([double.MaxValue], [-double.MaxValue]);
        Assert.That((difference.MaxAbsolute, difference.MaxRelative), Is.EqualTo((double.PositiveInfinity, 2.0)));
    }

    [Test]
    public void FloatsOfTwoTypesAreComparedAcrossPanels()
    {
        double[] wide = [.. Enumerable.Range(0, 100_001).Select(i => (double)i)];
        float[] narrow = [.. wide.Select(value => (float)value)];
        Assert.That(Compare(wide, narrow).DifferentElements, Is.Zero);
        narrow[^1]++;
        Assert.That(Compare(narrow, wide).DifferentElements, Is.EqualTo(1));
    }

    [Test]
    public void OtherTypesAreComparedByTheirBytes()
    {
        TensorDifference difference = Compare([true, false, true], [true, true, true]);
        Assert.That((difference.DifferentElements, difference.MaxAbsolute), Is.EqualTo((1L, (double?)null)));
        // two complex numbers, of which the second differs in two bytes
        byte[] a = new byte[16], b = new byte[16];
        (b[8], b[15]) = (1, 1);
        MemoryModel one = new(), other = new();
        one.Add(new TensorInfo("t", DType.C64, new TensorShape(2)), a);
        other.Add(new TensorInfo("t", DType.C64, new TensorShape(2)), b);
        Assert.That(ModelStatistics.Compare(one, other, "t").DifferentElements, Is.EqualTo(1));
    }

    [Test]
    public void RefusesModelsThatCannotBeCompared()
    {
        MemoryModel model = Of<float>([1]);
        AssertRefused(model, new MemoryModel(), "'t' is missing");
        AssertRefused(new MemoryModel(), model, "'t' is missing");
        AssertRefused(model, Of<float>([1, 2]), "[2]", "[1]");
        AssertRefused(model, Of([1]), "I32", "F32");

        static void AssertRefused(MemoryModel first, MemoryModel second, params string[] parts)
        {
            InvalidModelException refusal =
                Assert.Throws<InvalidModelException>(() => ModelStatistics.Compare(first, second, "t"))!;
            foreach (string part in parts)
                Assert.That(refusal.Message, Does.Contain(part));
        }
    }

    private static TensorStatistics Measure<T>(T[] values) where T : unmanaged
    {
        MemoryModel model = Of(values);
        return ModelStatistics.Measure(model, model.Tensors[0]);
    }

    private static TensorDifference Compare<TA, TB>(TA[] a, TB[] b) where TA : unmanaged where TB : unmanaged =>
        ModelStatistics.Compare(Of(a), Of(b), "t");

    private static MemoryModel Of<T>(T[] values) where T : unmanaged => new() { { "t", [values.Length], values } };
}
