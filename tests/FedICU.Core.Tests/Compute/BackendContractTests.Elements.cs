using CsCheck;
using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

// Verbs whose results are single elements or counts, which have the bits of the reference.
public abstract unsafe partial class BackendContractTests
{
    [Test]
    public void WeightedSumHasTheBitsOfTheReference([ValueSource(nameof(Types))] DType output)
    {
        foreach (Case c in Cases(0, 257, 3, output).Concat(LongCases(output)))
            CheckWeightedSum(c);
    }

    [Test]
    public void WeightedSumHasTheBitsOfTheReferenceOnRandomCases()
    {
        Gen.Select(Gen.Int[0, 700], Gen.Int, Gen.Int[0, 3]).Sample(
            (length, seed, output) => CheckWeightedSum(new Case(length, seed, Types[output])), iter: 400, threads: 1);
    }

    private void CheckWeightedSum(Case c)
    {
        TensorPanel[] inputs = Inputs(c, Spread.Extreme);
        TensorPanel expected = Output(c), actual = Output(c);
        double[] weights = Weights(c, inputs.Length);
        double divisor = c.Seed % 3 == 0 ? 1 : c.Random.Next(1, 5000);
        long expectedCount = _reference.WeightedSum(inputs, weights, divisor, c.Length, expected);
        long actualCount = _backend.WeightedSum(inputs, weights, divisor, c.Length, actual);
        AssertSame(expected, actual, c);
        Assert.That(actualCount, Is.EqualTo(expectedCount), () => $"{c}");
        AssertIntact(c);
    }

    [Test]
    public void WeightedSumOfTheLargestValuesHasTheBitsOfTheReference([Values] bool inPlace)
    {
        foreach (Case c in Cases(0, 60, 1, DType.F64).Concat(LongCases(DType.F64)))
        {
            TensorPanel[] inputs = Inputs(c, Spread.Tame);
            foreach (TensorPanel input in inputs)
            {
                for (int i = 0; i < c.Length && input.DType == DType.F64; i++)
                {
                    double* x = (double*)input.Data + i;
                    *x = Math.ScaleB(*x, c.Random.Next(3) == 0 ? 0 : 1023 - Math.ILogB(*x));
                }
            }

            double[] weights = [.. inputs.Select(_ => (double)c.Random.Next(1, 3000))];
            TensorPanel expected = Output(c), actual = inPlace && inputs[^1].DType == c.Output ? inputs[^1] : Output(c);
            long expectedCount = _reference.WeightedSum(inputs, weights, weights.Sum(), c.Length, expected);
            Assert.That(_backend.WeightedSum(inputs, weights, weights.Sum(), c.Length, actual), Is.EqualTo(expectedCount), () => $"{c}");
            Assert.That(expectedCount, Is.Zero, () => $"{c}");
            AssertSame(expected, actual, c);
            AssertIntact(c);
        }
    }

    [Test]
    public void WeightedSumAndCombineCanOverwriteAnInput([ValueSource(nameof(Types))] DType dtype)
    {
        foreach (Case c in Cases(0, 60, 1, dtype).Concat(LongCases(dtype)))
        {
            TensorPanel[] inputs = Inputs(c, Spread.Wild);
            TensorPanel target = inputs[c.Random.Next(inputs.Length)];
            double[] weights = Weights(c, inputs.Length);
            fixed (double* coefficients = weights)
            {
                TensorPanel sum = new(_memory.Bytes(c.Length * target.DType.BitSize / 8, c.AtEnd), target.DType);
                TensorPanel combined = new(_memory.Bytes(c.Length * target.DType.BitSize / 8, c.AtEnd), target.DType);
                var geometry = new PanelGeometry(1, c.Length, GroupsAreColumns: false);
                _reference.WeightedSum(inputs, weights, 7, c.Length, sum);
                byte[] original = new ReadOnlySpan<byte>(target.Data, c.Length * target.DType.BitSize / 8).ToArray();
                _backend.WeightedSum(inputs, weights, 7, c.Length, target);
                AssertSame(sum, target, c);
                original.CopyTo(new Span<byte>(target.Data, original.Length));
                _reference.Combine(inputs, geometry, new GroupValues(coefficients, 1), null, combined, null);
                _backend.Combine(inputs, geometry, new GroupValues(coefficients, 1), null, target, null);
                AssertSame(combined, target, c);
                AssertIntact(c);
            }
        }
    }

    [Test]
    public void EveryValueOf16BitsIsWidenedExactly([Values(DType.F16, DType.BF16)] DType dtype)
    {
        var c = new Case(1 << 16, 0, DType.F64);
        _memory.Begin();
        TensorPanel input = _memory.Panel(dtype, c.Length, true), output = Output(c);
        for (int i = 0; i < c.Length; i++)
            ((ushort*)input.Data)[i] = (ushort)i;
        _backend.WeightedSum([input], [1.0], 1, c.Length, output);
        for (int i = 0; i < c.Length; i++)
        {
            double expected = dtype == DType.F16
                ? (double)BitConverter.UInt16BitsToHalf((ushort)i)
                : BitConverter.Int32BitsToSingle(i << 16);
            double actual = ((double*)output.Data)[i];
            Assert.That(Bits(actual), Is.EqualTo(Bits(expected)), () => $"{dtype} {i:x4}");
        }
    }

    [Test]
    public void EveryHalfwayCaseOf16BitsIsRoundedOnce([Values(DType.F16, DType.BF16)] DType dtype)
    {
        (double[] values, ushort[] expected) = NarrowingCases.All(dtype);
        _memory.Begin();
        var input = new TensorPanel(_memory.Doubles(values, true), DType.F64);
        TensorPanel output = _memory.Panel(dtype, values.Length, true);
        _backend.WeightedSum([input], [1.0], 1, values.Length, output);
        for (int i = 0; i < values.Length; i++)
        {
            ushort actual = ((ushort*)output.Data)[i];
            if (actual != expected[i])
                Assert.Fail($"{values[i]:R} to {dtype}: {actual:x4}, not {expected[i]:x4}");
        }
    }

    [Test]
    public void Float64IsRoundedOnceToFloat32()
    {
        var random = new Random(5);
        var values = new double[200_000];
        for (int i = 0; i < values.Length; i++)
        {
            float near = BitConverter.Int32BitsToSingle(random.Next(0x7F80_0000));
            float next = MathF.BitIncrement(near);
            double middle = near + (Math.ScaleB(1, 128) is var end && float.IsInfinity(next) ? end - near : (double)next - near) / 2;
            double value = (i % 4) switch
            {
                0 => middle,
                1 => Math.BitIncrement(middle),
                2 => Math.BitDecrement(middle),
                _ => BitConverter.Int64BitsToDouble(random.NextInt64(0x7FF0L << 48)),
            };
            values[i] = random.Next(2) == 0 ? value : -value;
        }

        _memory.Begin();
        var input = new TensorPanel(_memory.Doubles(values, true), DType.F64);
        TensorPanel output = _memory.Panel(DType.F32, values.Length, true);
        _backend.WeightedSum([input], [1.0], 1, values.Length, output);
        for (int i = 0; i < values.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(((float*)output.Data)[i]) != BitConverter.SingleToInt32Bits((float)values[i]))
                Assert.Fail($"{values[i]:R}");
        }
    }

    [Test]
    public void CountNonFiniteCountsLikeTheReference([ValueSource(nameof(Types))] DType dtype)
    {
        foreach (Case c in Cases(0, 257, 1, dtype).Concat(LongCases(dtype)))
        {
            _memory.Begin();
            TensorPanel input = _memory.Panel(dtype, c.Length, c.AtEnd);
            SamplePanels.Fill(input.Data, dtype, c.Length, c.Random, Spread.Extreme);
            Assert.That(_backend.CountNonFinite(input, c.Length), Is.EqualTo(_reference.CountNonFinite(input, c.Length)), () => $"{c}");
        }
    }
}
