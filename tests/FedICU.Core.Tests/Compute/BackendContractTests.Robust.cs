using CsCheck;
using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

// The verbs of robust rules: order statistics, which have the bits of the reference, and pair distances.
public abstract unsafe partial class BackendContractTests
{
    // all that registers sort, some that networks sort, and more
    private static readonly int[] ManyInputs = [.. Enumerable.Range(1, 70), 100, 127, 128, 256, 257, 300, 1000];

    private static readonly double[] Ties = [-0.0, 0, 1, -1, 6e-8, -6e-8, 1e-40, 1.0009765625];

    [Test]
    public void MiddleMeanHasTheBitsOfTheReference([ValueSource(nameof(Types))] DType output)
    {
        foreach (Case c in Cases(0, 130, 3, output).Concat(LongCases(output)))
            CheckMiddleMean(c, Inputs(c, Spread.Extreme), c.Random.Next(5));
    }

    [Test]
    public void MiddleMeanOfAnyNumberOfInputsHasTheBitsOfTheReference([ValueSource(nameof(Types))] DType output)
    {
        foreach (int count in ManyInputs)
        {
            int trims = (count - 1) / 2;
            IEnumerable<int> some = count <= 12 ? Enumerable.Range(0, trims + 1) : [0, 1, trims / 2, trims];
            foreach (int trim in some)
            {
                var c = new Case(1 + (count * 7 + trim) % (count > 70 ? 40 : 150), count * 100 + trim, output);
                CheckMiddleMean(c, Inputs(c, c.Seed % 3 == 0 ? Spread.Wild : Spread.Tame, count), trim);
            }
        }
    }

    [Test]
    public void MiddleMeanOfTiedValuesHasTheBitsOfTheReference([ValueSource(nameof(Types))] DType output)
    {
        foreach (int count in (int[])[1, 2, 3, 4, 5, 8, 13, 65, 260])
        {
            for (int trim = 0; 2 * trim < count; trim += 1 + count / 10)
            {
                var c = new Case(150, count * 100 + trim, output);
                TensorPanel[] inputs = Inputs(c, Spread.Tame, count);
                foreach (TensorPanel input in inputs)
                {
                    for (int i = 0; i < c.Length; i++)
                        Rounding.Write(input.Data, input.DType, i, Ties[c.Random.Next(1 + i % Ties.Length)]);
                }

                CheckMiddleMean(c, inputs, trim);
            }
        }
    }

    [Test]
    public void MiddleMeanCountsEveryElementWithANonFiniteInput([ValueSource(nameof(Types))] DType dtype, [Values(3, 4, 66, 260)] int count)
    {
        double[] values = [double.NaN, -BitConverter.Int64BitsToDouble(0x7FF8L << 48), double.PositiveInfinity, double.NegativeInfinity];
        for (int position = 0; position < 70; position++)
        {
            var c = new Case(70, position + 1000 * count, dtype);
            TensorPanel[] inputs = Inputs(c, Spread.Tame, count);
            TensorPanel input = inputs[c.Random.Next(count)];
            Rounding.Write(input.Data, input.DType, position, values[position % values.Length]);
            // the sign of a NaN decides its rank; Write removes it
            if (position % 4 == 1)
                ((byte*)input.Data)[(position + 1) * input.DType.BitSize / 8 - 1] |= 0x80;
            foreach (int trim in (int[])[0, 1])
                Assert.That(CheckMiddleMean(c, inputs, trim), Is.EqualTo(1), () => $"{c}");
        }
    }

    [Test]
    public void MiddleMeanOfTheLargestValuesDoesNotOverflow([Values(2, 5, 70, 270)] int count)
    {
        foreach (double sign in (double[])[1, -1])
        {
            var c = new Case(33, count, DType.F64);
            TensorPanel[] inputs = Inputs(c, Spread.Tame, count);
            for (int k = 0; k < count; k++)
            {
                inputs[k] = _memory.Panel(DType.F64, c.Length, c.AtEnd);
                for (int i = 0; i < c.Length; i++)
                    ((double*)inputs[k].Data)[i] = sign * (i == 0 ? double.MaxValue : double.MaxValue * (1 - c.Random.NextDouble() / 4));
            }

            for (int trim = 0; 2 * trim < count; trim += 1 + count / 10)
                Assert.That(CheckMiddleMean(c, inputs, trim), Is.Zero);
        }
    }

    [Test]
    public void MiddleMeanCanOverwriteAnInput([ValueSource(nameof(Types))] DType dtype)
    {
        foreach (Case c in Cases(0, 140, 1, dtype).Concat(LongCases(dtype)))
        {
            TensorPanel[] inputs = Inputs(c, Spread.Wild);
            TensorPanel target = inputs[c.Random.Next(inputs.Length)];
            int trim = c.Random.Next((inputs.Length + 1) / 2);
            TensorPanel expected = _memory.Panel(target.DType, c.Length, c.AtEnd);
            long count = _reference.MiddleMean(inputs, trim, c.Length, expected);
            Assert.That(_backend.MiddleMean(inputs, trim, c.Length, target), Is.EqualTo(count), () => $"{c}");
            AssertSame(expected, target, c);
            AssertIntact(c);
        }
    }

    [Test]
    public void TheMedianIsTheSortedMiddle([ValueSource(nameof(Types))] DType dtype)
    {
        Gen.Select(Gen.Int[1, 300], Gen.Int[1, 90], Gen.Int).Sample(
            (count, length, seed) =>
            {
                var c = new Case(length, seed, dtype);
                TensorPanel[] inputs = Inputs(c, Spread.Tame, count);
                TensorPanel expected = Output(c), actual = Output(c);
                for (int i = 0; i < length; i++)
                {
                    double[] values = [.. inputs.Select(input => At(input, i)).Order()];
                    double median = (values[(count - 1) / 2] + values[count / 2]) / 2;
                    Rounding.Write(expected.Data, dtype, i, median);
                }

                _backend.MiddleMean(inputs, (count - 1) / 2, length, actual);
                AssertSame(expected, actual, c);
            },
            iter: 60, threads: 1);
    }

    [Test]
    public void TheOrderOfInputsDoesNotChangeTheMedian([ValueSource(nameof(Types))] DType dtype)
    {
        Gen.Select(Gen.Int[1, 300], Gen.Int[1, 90], Gen.Int).Sample(
            (count, length, seed) =>
            {
                var c = new Case(length, seed, dtype);
                TensorPanel[] inputs = Inputs(c, Spread.Extreme, count);
                TensorPanel expected = Output(c), actual = Output(c);
                long found = _backend.MiddleMean(inputs, (count - 1) / 2, length, expected);
                c.Random.Shuffle(inputs);
                Assert.That(_backend.MiddleMean(inputs, (count - 1) / 2, length, actual), Is.EqualTo(found));
                AssertSame(expected, actual, c);
            },
            iter: 60, threads: 1);
    }

    [Test]
    public void TheOrderOfInputsDoesNotChangeATrimmedMeanOfIntegers([ValueSource(nameof(Types))] DType dtype)
    {
        // sums of small integers are exact in any order
        Gen.Select(Gen.Int[1, 300], Gen.Int[1, 90], Gen.Int).Sample(
            (count, length, seed) =>
            {
                var c = new Case(length, seed, dtype);
                TensorPanel[] inputs = Inputs(c, Spread.Tame, count);
                foreach (TensorPanel input in inputs)
                {
                    for (int i = 0; i < length; i++)
                        Rounding.Write(input.Data, input.DType, i, c.Random.Next(-9, 10));
                }

                int trim = c.Random.Next((count + 1) / 2);
                TensorPanel expected = Output(c), actual = Output(c);
                for (int i = 0; i < length; i++)
                {
                    int[] sorted = [.. inputs.Select(input => (int)At(input, i)).Order()];
                    Rounding.Write(expected.Data, dtype, i, sorted[trim..^trim].Sum() / (double)(count - 2 * trim));
                }

                c.Random.Shuffle(inputs);
                _backend.MiddleMean(inputs, trim, length, actual);
                AssertSame(expected, actual, c);
            },
            iter: 60, threads: 1);
    }

    private long CheckMiddleMean(Case c, TensorPanel[] inputs, int trim)
    {
        trim = Math.Min(trim, (inputs.Length - 1) / 2);
        TensorPanel expected = Output(c), actual = Output(c);
        long expectedCount = _reference.MiddleMean(inputs, trim, c.Length, expected);
        long actualCount = _backend.MiddleMean(inputs, trim, c.Length, actual);
        AssertSame(expected, actual, c);
        Assert.That(actualCount, Is.EqualTo(expectedCount), () => $"{c} trim {trim}");
        AssertIntact(c);
        return actualCount;
    }

    [Test]
    public void AddPairDistancesIsWithinItsBound()
    {
        int[] counts = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 13, 40];
        foreach (Case c in Cases(0, 270, 1, DType.F64).Concat(LongCases(DType.F64)))
        {
            int count = counts[c.Seed % (c.Length > 5000 ? 5 : counts.Length)];
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame, count);
            int depth = (c.Length + PanelGeometry.DistanceBlock - 1) / PanelGeometry.DistanceBlock + PanelGeometry.DistanceBlock / 8;
            int pairs = count * (count - 1) / 2;
            double[] expected = [.. SamplePanels.Doubles(pairs, c.Random, Spread.Tame).Select(Math.Abs)];
            double* actual = _memory.Doubles(expected, c.AtEnd);
            _reference.AddPairDistances(inputs, c.Length, expected);
            _backend.AddPairDistances(inputs, c.Length, new Span<double>(actual, pairs));
            for (int i = 0; i < pairs; i++)
                AssertClose(expected[i], actual[i], (depth + 8) * Epsilon * expected[i], c);
            AssertIntact(c);
        }
    }

    [Test]
    public void AddDistancesIsWithinItsBound()
    {
        foreach (Case c in Cases(0, 270, 1, DType.F64).Concat(LongCases(DType.F64)))
        {
            int count = c.Seed % 10;
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame, count + 2);
            TensorPanel origin = c.Seed % 3 == 0 ? default : inputs[count], direction = c.Seed % 5 == 0 ? default : inputs[count + 1];
            int depth = (c.Length + PanelGeometry.DistanceBlock - 1) / PanelGeometry.DistanceBlock + PanelGeometry.DistanceBlock / 8;
            double[] start = [.. SamplePanels.Doubles(2 * count, c.Random, Spread.Tame).Select(Math.Abs)], expected = [.. start];
            double* actual = _memory.Doubles(start, c.AtEnd);
            double[] ofDirection = new double[1];
            _reference.AddDistances(
                inputs.AsSpan(0, count), origin, direction, c.Length, expected.AsSpan(0, count), expected.AsSpan(count));
            _backend.AddDistances(
                inputs.AsSpan(0, count), origin, direction, c.Length, new Span<double>(actual, count),
                new Span<double>(actual + count, count));
            if (direction.Data != null)
                _reference.AddDistances([direction], origin, default, c.Length, ofDirection, []);
            for (int k = 0; k < count; k++)
            {
                AssertClose(expected[k], actual[k], (depth + 8) * Epsilon * expected[k], c);
                // the magnitudes of the products are at most the norms' (Cauchy and Schwarz)
                double magnitudes = start[count + k] + Math.Sqrt(expected[k] * ofDirection[0]);
                AssertClose(expected[count + k], actual[count + k], (depth + 8) * Epsilon * magnitudes, c);
            }

            AssertIntact(c);
        }
    }

    [Test]
    public void DistancesToAnOriginAreThoseOfPairs()
    {
        var c = new Case(3 * PanelGeometry.DistanceBlock + 77, 6, DType.F64);
        TensorPanel[] inputs = Inputs(c, Spread.Tame, 7);
        double[] squares = new double[6], pair = new double[1];
        _backend.AddDistances(inputs.AsSpan(0, 6), inputs[6], default, c.Length, squares, []);
        for (int k = 0; k < 6; k++)
        {
            pair[0] = 0;
            _backend.AddPairDistances([inputs[k], inputs[6]], c.Length, pair);
            Assert.That(squares[k], Is.EqualTo(pair[0]));
        }
    }

    [Test]
    public void PairDistancesOfPanelsAddUpToThoseOfTheTensor()
    {
        var c = new Case(3 * PanelGeometry.DistanceBlock + 77, 5, DType.F64);
        TensorPanel[] inputs = Inputs(c, Spread.Tame, 6);
        double[] whole = new double[15], parts = new double[15];
        _backend.AddPairDistances(inputs, c.Length, whole);
        for (int start = 0; start < c.Length; start += PanelGeometry.DistanceBlock)
        {
            TensorPanel[] panels =
                [.. inputs.Select(input => new TensorPanel((byte*)input.Data + start * input.DType.BitSize / 8, input.DType))];
            _backend.AddPairDistances(panels, Math.Min(PanelGeometry.DistanceBlock, c.Length - start), parts);
        }

        // the reference sums a whole panel precisely
        double tolerance = _backend is ReferenceBackend ? 1e-14 * whole.Max() : 0;
        Assert.That(parts, Is.EqualTo(whole).Within(tolerance));
    }

    [Test]
    public void TheOrderOfInputsDoesNotChangeAPairsDistance()
    {
        Gen.Select(Gen.Int[2, 20], Gen.Int[1, 700], Gen.Int).Sample(
            (count, length, seed) =>
            {
                var c = new Case(length, seed, DType.F64);
                TensorPanel[] inputs = Inputs(c, Spread.Tame, count);
                int[] order = [.. Enumerable.Range(0, count)];
                c.Random.Shuffle(order);
                double[] sums = new double[count * (count - 1) / 2], shuffled = new double[sums.Length];
                _backend.AddPairDistances(inputs, length, sums);
                _backend.AddPairDistances([.. order.Select(k => inputs[k])], length, shuffled);
                for (int k = 1; k < count; k++)
                {
                    for (int j = 0; j < k; j++)
                    {
                        int original = GramPairs.Index(Math.Min(order[j], order[k]), Math.Max(order[j], order[k]) - 1);
                        Assert.That(Bits(shuffled[GramPairs.Index(j, k - 1)]), Is.EqualTo(Bits(sums[original])), () => $"{c} {j} {k}");
                    }
                }
            },
            iter: 100, threads: 1);
    }
}
