using System.Runtime.Intrinsics;
using System.Text.Json;
using FedICU.Compute;

namespace FedICU.Tests.Compute;

[Parallelizable(ParallelScope.Self)]
internal sealed class GaussianNoiseTests
{
    private static readonly GaussianNoise Noise = new(7, "w");

    [Test]
    public void TheKnownAnswerHolds() => Assert.That(Noise[0], Is.EqualTo(-0.6532966182393103).Within(1e-15));

    [Test]
    public void TheGoldenAnswersHold()
    {
        if (Golden.Folder is null)
            Assert.Ignore("the golden rounds (shared/golden beside the checkout) are not here");
        byte[] json = File.ReadAllBytes(Path.Combine(Golden.Folder, "family", "random.json"));
        foreach (JsonElement stream in JsonDocument.Parse(json).RootElement.GetProperty("streams").EnumerateArray())
        {
            var noise = new GaussianNoise(stream.GetProperty("seed").GetInt64(), stream.GetProperty("name").GetString()!);
            JsonElement[] indices = [.. stream.GetProperty("index").EnumerateArray()];
            for (int i = 0; i < indices.Length; i++)
            {
                // the golden values round 2 pi v to float64, so their error is absolute
                double expected = stream.GetProperty("gaussian")[i].GetDouble();
                Assert.That(noise[indices[i].GetInt64()], Is.EqualTo(expected).Within(1e-14), stream.ToString());
            }
        }
    }

    [Test]
    public void SplitsDoNotChangeTheBits(
        [Values(0L, 3, uint.MaxValue - 300L)] long start, [Values(1, 7, 8, 255, 256, 1003)] int length)
    {
        double[] expected = [.. Enumerable.Range(0, length).Select(i => (double)i)], whole = [.. expected], split = [.. expected];
        for (int i = 0; i < length; i++)
            expected[i] = Math.FusedMultiplyAdd(0.3, Noise[start + i], expected[i]);
        Noise.AddTo(start, 0.3, whole);
        int middle = length / 3;
        Noise.AddTo(start, 0.3, split.AsSpan(0, middle));
        Noise.AddTo(start + middle, 0.3, split.AsSpan(middle));
        Assert.That(whole, Is.EqualTo(expected));
        Assert.That(split, Is.EqualTo(expected));
    }

    [Test]
    public void TheTransformIsAccurate()
    {
        // u and v beside their bounds, and beside the bounds of the polynomials
        ulong[] edges =
        [
            0, 1UL << 11, 1UL << 62, 1UL << 63, 3UL << 62, (1UL << 62) - (1UL << 11), (3UL << 62) + (1UL << 11), (1UL << 63) - 1,
            0xB504F333F9DE6000, 0xB504F333F9DE6800, 0x5A827999FCEF3000, ulong.MaxValue - (1UL << 11), ulong.MaxValue,
        ];
        var random = new Random(5);
        ulong Draw() => (ulong)random.NextInt64() << 1;
        (ulong U, ulong V)[] words =
        [
            .. edges.SelectMany(u => edges.Select(v => (u, v))),
            .. Enumerable.Range(0, 20_000).Select(_ => (Draw(), Draw())),
            .. Enumerable.Range(0, 20_000).Select(_ => (ulong.MaxValue - (Draw() >> random.Next(53)), Draw() >> random.Next(53))),
        ];
        foreach ((ulong U, ulong V)[] part in words.Chunk(Vector512<ulong>.Count))
        {
            ulong[] first = new ulong[Vector512<ulong>.Count], second = new ulong[Vector512<ulong>.Count];
            for (int i = 0; i < part.Length; i++)
                (first[i], second[i]) = part[i];
            Vector512<double> actual = GaussianNoise.Transform(Vector512.Create(first), Vector512.Create(second));
            for (int i = 0; i < part.Length; i++)
            {
                double expected = Compute(first[i], second[i]);
                Assert.That(actual[i], Is.EqualTo(expected).Within(1.2e-15 * Math.Abs(expected)), $"{first[i]:x} {second[i]:x}");
            }
        }
    }

    [Test]
    public void TheMomentsAreThoseOfTheStandardNormalDistribution()
    {
        const int count = 1_000_000;
        double[] values = new double[count];
        Noise.AddTo(0, 1, values);
        Assert.That(values.All(double.IsFinite));
        double Moment(int power) => values.Sum(value => Math.Pow(value, power)) / count;
        // five standard errors of each mean
        Assert.That(Moment(1), Is.EqualTo(0).Within(5 * Math.Sqrt(1.0 / count)));
        Assert.That(Moment(2), Is.EqualTo(1).Within(5 * Math.Sqrt(2.0 / count)));
        Assert.That(Moment(3), Is.EqualTo(0).Within(5 * Math.Sqrt(15.0 / count)));
        Assert.That(Moment(4), Is.EqualTo(3).Within(5 * Math.Sqrt(96.0 / count)));
    }

    /// <summary>Computes the transform by System.Math, whose arguments are exact.</summary>
    private static double Compute(ulong first, ulong second)
    {
        double u = ((first >> 11) + 1) * Math.ScaleB(1, -53), v = (second >> 11) * Math.ScaleB(1, -53);
        double a = 0.25 - v % 0.5, cosine = double.SinPi(2 * a);
        return Math.Sqrt(-2 * Math.Log(u)) * (v < 0.5 ? cosine : -cosine);
    }
}
