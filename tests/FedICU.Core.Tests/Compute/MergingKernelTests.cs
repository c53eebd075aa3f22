using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU.Tests;

/// <summary>The kernels of the merging rules against plain loops, at every register width.</summary>
internal sealed unsafe class MergingKernelTests
{
    private static readonly int[] Widths = [128, 256, 512];

    [Test]
    public void MasksAreTheComparisonsOfTheNumbers([Values(0, 1L << 40, (1L << 32) - 40)] long start)
    {
        var numbers = new UniformNumbers(new Philox(3, "w", "dare", 1));
        ulong[] masks = new ulong[2 * Philox.Quad.Lanes];
        numbers.FindBelow(start, .3, masks);
        for (int i = 0; i < masks.Length; i++)
            Assert.That(masks[i], Is.EqualTo(numbers[start + i] < .3 ? ulong.MaxValue : 0), $"{start + i}");
    }

    [Test]
    public void AnElectionIsTheSameAtEveryWidthAndAsInALoop(
        [Values] DType dtype, [Values] ElectedSum sum, [Values] ElectionDivisor divisor, [Values(1, 8, 37)] int length)
    {
        if (!dtype.IsComputed)
            return;
        const int Inputs = 5;
        var random = new Random(9);
        double[][] values = [.. Enumerable.Range(0, Inputs).Select(_ => Numbers(length))];
        double[] origin = [.. Numbers(length), .. new double[8]];
        double[] weights = [1, .5, 2, .25, 1], bounds = [0, .5, .25, 1, 0];
        double[] expected = [.. Enumerable.Range(0, length).Select(Elect)];
        foreach (int width in Widths)
        {
            double[] output = new double[length + 8];
            byte[][] stored = [.. values.Select(Store)];
            GCHandle[] pins = [.. stored.Select(bytes => GCHandle.Alloc(bytes, GCHandleType.Pinned))];
            TensorPanel[] panels = [.. pins.Select(pin => new TensorPanel((void*)pin.AddrOfPinnedObject(), dtype))];
            fixed (double* x = origin, u = output)
            {
                Assert.That(
                    new SimdBackend(width).ElectSigns(panels, x, weights, bounds, new SignElection(sum, divisor, .5), length, u), Is.True);
            }

            Array.ForEach(pins, pin => pin.Free());
            Assert.That(output.Take(length), Is.EqualTo(expected), $"{width} bits");
        }

        // quarters, which every type holds and whose sums are exact
        double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(-6, 7) / 4.0)];

        byte[] Store(double[] row)
        {
            byte[] bytes = new byte[row.Length * dtype.BitSize / 8];
            fixed (byte* target = bytes)
            {
                for (int i = 0; i < row.Length; i++)
                    Rounding.Write(target, dtype, i, row[i]);
            }

            return bytes;
        }

        double Elect(int i)
        {
            double[] d = [.. values.Select((row, k) => row[i] - origin[i]).Select((each, k) => Math.Abs(each) > bounds[k] ? each : 0)];
            double elected = d.Select((each, k) => sum switch
            {
                ElectedSum.Weighted => weights[k] * each,
                ElectedSum.Plain => each,
                _ => Math.Sign(each),
            }).Sum();
            int[] agree = [.. Enumerable.Range(0, Inputs).Where(k => d[k] != 0 && d[k] < 0 == elected < 0)];
            if (agree.Length == 0)
                return 0;
            double merged = agree.Sum(k => weights[k] * d[k]);
            return .5 * (divisor switch
            {
                ElectionDivisor.Weights => merged / agree.Sum(k => weights[k]),
                ElectionDivisor.Count => merged / agree.Length,
                _ => merged,
            });
        }
    }

    [Test]
    public void SinglesCountAndAreCollectedAsTheirDifferencesInFloat64(
        [Values(DType.F32, DType.F16, DType.BF16)] DType dtype, [Values(1, 16, 37, 512)] int length, [Values] bool countsEnds)
    {
        var random = new Random(length);
        float[] values = [.. Enumerable.Range(0, length).Select(_ => random.Next(-8, 9) / 4f)];
        float[] origins = [.. Enumerable.Range(0, length).Select(i => random.Next(-4, 5) / (i % 3 == 0 ? 4f : 1 << 30))];
        var bracket = new MagnitudeBracket(.5, 1, countsEnds);
        byte[] stored = new byte[length * dtype.BitSize / 8];
        double[] inside = new double[length + 8];
        BracketCounts counts = default;
        fixed (byte* y = stored)
        {
            for (int i = 0; i < length; i++)
                Rounding.Write(y, dtype, i, values[i]);
            fixed (float* x = origins)
            fixed (double* target = inside)
                SimdBackend.CollectSingles(new TensorPanel(y, dtype), x, length, bracket, ref counts, target);
        }

        (double Exact, float Single)[] magnitudes =
            [.. values.Zip(origins, (y, x) => (Math.Abs((double)y - x), Math.Abs(y - x)))];
        Assert.That(counts.OverLow, Is.EqualTo(magnitudes.Count(each => each.Single > .5f)));
        Assert.That(
            inside.Take((int)counts.Inside), Is.EqualTo(magnitudes.Where(each => each.Single is > .5f and < 1).Select(each => each.Exact)));
        if (!countsEnds)
            return;
        Assert.That(counts.AtLow, Is.EqualTo(magnitudes.Count(each => each.Single == .5f)));
        Assert.That(counts.AtHigh, Is.EqualTo(magnitudes.Count(each => each.Single == 1)));
        Assert.That(counts.Inexact, Is.EqualTo(magnitudes.Count(each => each.Single is .5f or 1 && each.Single != each.Exact)));
    }

    [Test]
    public void AnElectionTellsOfValuesThatAreNotFinite([Values(double.NaN, double.PositiveInfinity)] double value)
    {
        var numbers = new UniformNumbers(new Philox(3, "w", "dare", 1));
        double[] row = [.. Enumerable.Repeat(1.0, 11), value, .. Enumerable.Repeat(-1.0, 4)], output = new double[16];
        foreach (int width in Widths)
        {
            fixed (double* x = row, u = output)
            {
                TensorPanel[] panels = [new TensorPanel(x, DType.F64)];
                Assert.That(
                    new SimdBackend(width).ElectSigns(panels, null, [1], [2], new SignElection(0, 0, 1), 16, u), Is.False, $"{width}");
                Assert.That(new SimdBackend(width).WidenUpdate(panels[0], null, 16, u), Is.False);
                Assert.That(new SimdBackend(width).AddMasked(panels[0], null, numbers, 0, .5, 0, 16, u), Is.False);
            }
        }
    }
}
