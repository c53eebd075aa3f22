using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

// Verbs of the client.
public abstract unsafe partial class BackendContractTests
{
    [Test]
    public void AddMomentsIsWithinItsBound([Values] MomentumRule rule)
    {
        foreach (Case c in Cases(0, 257, 1, DType.F32).Concat(LongCases(DType.F32)))
        {
            ImportanceInputs inputs = Importance(c, rule, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            MagnitudeMoments u = default, g = default, expectedU = default, expectedG = default;
            for (int twice = 0; twice < 2; twice++)
            {
                _backend.AddMoments(inputs, c.Length, ref u, ref g);
                _reference.AddMoments(inputs, c.Length, ref expectedU, ref expectedG);
            }

            AssertClose(expectedU, u, c);
            AssertClose(expectedG, g, c);
            AssertIntact(c);
        }
    }

    private static void AssertClose(MagnitudeMoments expected, MagnitudeMoments actual, Case c)
    {
        Assert.That(actual.Count, Is.EqualTo(expected.Count), () => $"{c}");
        AssertClose(expected.Minimum, actual.Minimum, 0, c);
        AssertClose(expected.Maximum, actual.Maximum, 0, c);
        if (!double.IsFinite(expected.Mean))
        {
            Assert.That(double.IsFinite(actual.Mean), Is.False, () => $"{c}");
            Assert.That(double.IsFinite(actual.SquaredDeviations), Is.False, () => $"{c}");
            return;
        }

        // an error d of the mean changes the sum of squares S by at most 2 sqrt(n S) d + n d^2
        double depth = Math.Min(expected.Count, MagnitudeMoments.Block) / 8.0 + 3.0 * expected.Count / MagnitudeMoments.Block + 16;
        double off = depth * Epsilon * expected.Mean, squares = expected.SquaredDeviations;
        AssertClose(expected.Mean, actual.Mean, off, c);
        double shift = 2 * Math.Sqrt(squares * expected.Count) * off + expected.Count * off * off;
        AssertClose(squares, actual.SquaredDeviations, 2 * depth * Epsilon * squares + shift, c);
    }

    [Test]
    public void SelectImportantHasTheBitsOfTheReference([Values] MomentumRule rule)
    {
        ImportanceScale[] scales = [new(0.7, 1.9), new(0.5, 1.2), new(1, 0), new(1, double.PositiveInfinity), new(0, 1e-3)];
        foreach (Case c in Cases(0, 257, 2, DType.F32).Concat(LongCases(DType.F32)))
        {
            ImportanceInputs inputs = Importance(c, rule, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            ImportanceScale update = scales[c.Random.Next(scales.Length)], global = scales[c.Random.Next(scales.Length)];
            int bytes = (c.Length + 7) / 8;
            byte* expected = c.Seed % 7 == 0 ? null : _memory.Bytes(bytes, c.AtEnd);
            byte* actual = expected == null ? null : _memory.Bytes(bytes, c.AtEnd);
            bool writes = c.Seed % 3 != 0;
            var output = new Case(c.Length, c.Seed, Types[c.Random.Next(Types.Length)]);
            TensorPanel expectedMomentum = writes ? Output(output) : default, momentum = writes ? Output(output) : default;
            long expectedCount = _reference.SelectImportant(inputs, c.Length, update, global, expected, expectedMomentum);
            long count = _backend.SelectImportant(inputs, c.Length, update, global, actual, momentum);
            Assert.That(count, Is.EqualTo(expectedCount), () => $"{c}");
            if (expected != null)
                Assert.That(new ReadOnlySpan<byte>(actual, bytes).SequenceEqual(new(expected, bytes)), () => $"{c} {update} {global}");
            if (writes)
                AssertSame(expectedMomentum, momentum, output);
            AssertIntact(c);
        }
    }

    [Test]
    public void SelectImportantCanOverwriteTheMomentumItReads()
    {
        foreach (Case c in Cases(0, 70, 1, DType.F32).Concat(LongCases(DType.F32)))
        {
            ImportanceInputs inputs = Importance(c, MomentumRule.Ema, Spread.Tame);
            TensorPanel expected = _memory.Panel(inputs.Momentum.DType, c.Length, c.AtEnd);
            ImportanceScale scale = new(1, 2);
            long count = _reference.SelectImportant(inputs, c.Length, scale, scale, null, expected);
            Assert.That(_backend.SelectImportant(inputs, c.Length, scale, scale, null, inputs.Momentum), Is.EqualTo(count), () => $"{c}");
            AssertSame(expected, inputs.Momentum, c);
            AssertIntact(c);
        }
    }

    [Test]
    public void ImportanceHasTheBitsOfTheReference([Values] MomentumRule rule, [Values] bool sigmoid)
    {
        foreach (Case c in Cases(0, 257, 1, DType.F64).Concat(LongCases(DType.F64)))
        {
            ImportanceInputs inputs = Importance(c, rule, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            var update = new ImportanceScale(0.7, c.Seed % 5 == 0 ? 0 : 1.9);
            var global = new ImportanceScale(0.5, c.Seed % 6 == 0 ? double.PositiveInfinity : 1.2);
            TensorPanel expectedU = Output(c), expectedG = Output(c);
            TensorPanel u = c.Seed % 7 == 0 ? default : Output(c), g = c.Seed % 8 == 0 ? default : Output(c);
            _reference.Importance(inputs, c.Length, update, global, sigmoid, (double*)expectedU.Data, (double*)expectedG.Data);
            _backend.Importance(inputs, c.Length, update, global, sigmoid, (double*)u.Data, (double*)g.Data);
            foreach ((TensorPanel expected, TensorPanel actual) in ((TensorPanel, TensorPanel)[])[(expectedU, u), (expectedG, g)])
            {
                for (int i = 0; i < c.Length && actual.Data != null; i++)
                {
                    if (Bits(((double*)expected.Data)[i]) != Bits(((double*)actual.Data)[i]))
                        Assert.Fail($"{c} at {i}");
                }
            }

            AssertIntact(c);
        }
    }

    [Test]
    public void PackCopiesTheSelectedElements([ValueSource(nameof(Types))] DType type)
    {
        int size = type.BitSize / 8;
        foreach (Case c in Cases(0, 257, 2, type).Concat(LongCases(type)))
        {
            _memory.Begin();
            TensorPanel source = _memory.Panel(type, c.Length, c.AtEnd);
            SamplePanels.Fill(source.Data, type, c.Length, c.Random, Spread.Wild);
            byte* mask = _memory.Bytes((c.Length + 7) / 8, c.AtEnd);
            new Span<byte>(mask, (c.Length + 7) / 8).Clear();
            int outOf = 1 + c.Random.Next(9);
            for (int i = 0; i < c.Length; i++)
                mask[i / 8] |= (byte)(c.Random.Next(outOf) == 0 ? 1 << i % 8 : 0);
            int room = c.Length * size + IClientBackend.PackSlack;
            byte* expected = _memory.Bytes(room, c.AtEnd), actual = _memory.Bytes(room, c.AtEnd);
            long count = _reference.Pack(source, c.Length, mask, expected);
            Assert.That(_backend.Pack(source, c.Length, mask, actual), Is.EqualTo(count), () => $"{c}");
            int bytes = (int)count * size;
            Assert.That(new ReadOnlySpan<byte>(actual, bytes).SequenceEqual(new(expected, bytes)), () => $"{c}");
            AssertIntact(c);
        }
    }

    [Test]
    public void AddProximalHasTheBitsOfTheReferenceAndItsSumIsWithinItsBound([ValueSource(nameof(Types))] DType gradientType)
    {
        foreach (Case c in Cases(0, 257, 1, gradientType).Concat(LongCases(gradientType)))
        {
            ImportanceInputs inputs = Importance(c, MomentumRule.None, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            TensorPanel expected = Output(c), actual = Output(c);
            SamplePanels.Fill(expected.Data, gradientType, c.Length, c.Random, Spread.Tame);
            Buffer.MemoryCopy(expected.Data, actual.Data, (long)c.Length * 8, (long)c.Length * gradientType.BitSize / 8);
            bool writes = c.Seed % 5 != 0;
            double distance = _reference.AddProximal(inputs.Local, inputs.Global, 0.37, c.Length, writes ? expected : default);
            AssertClose(
                distance,
                _backend.AddProximal(inputs.Local, inputs.Global, 0.37, c.Length, writes ? actual : default),
                (c.Length / 8 + 8) * Epsilon * distance,
                c);
            AssertSame(expected, actual, c);
            AssertIntact(c);
        }
    }
}
