using CsCheck;
using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

/// <summary>
/// What every backend must do, held against the float64 reference. Values of single elements have the reference's bits; sums over n elements lie within
/// (depth + 8) * 2^-53 of the sum of the terms' magnitudes, depth being the longest chain of additions of the shape that the verb states. All panels lie
/// in guarded memory.
/// </summary>
public abstract unsafe class BackendContractTests(Func<IClientBackend> create)
{
    private const double Epsilon = 1.0 / (1L << 53);
    private static readonly DType[] Types = [DType.F64, DType.F32, DType.F16, DType.BF16];
    private static readonly int[] Counts = [1, 2, 3, 4, 5, 9];
    private static readonly int[] LongLengths = [511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4097, 100_003];

    private readonly GuardedPanels _memory = new();
    private readonly ReferenceBackend _reference = ReferenceBackend.Instance;
    private IClientBackend _backend = null!;

    [OneTimeSetUp]
    public void Create() => _backend = create();

    [OneTimeTearDown]
    public void Free()
    {
        _memory.Dispose();
        (_backend as IDisposable)?.Dispose();
    }

    // ---- single elements: the same bits

    [Test]
    public void WeightedSum_has_the_reference_bits([ValueSource(nameof(Types))] DType output)
    {
        foreach (Case c in Cases(0, 257, 3, output).Concat(LongCases(output)))
            CheckWeightedSum(c);
    }

    [Test]
    public void WeightedSum_has_the_reference_bits_for_anything()
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
    public void WeightedSum_of_values_near_the_largest_has_the_reference_bits([Values] bool inPlace)
    {
        foreach (Case c in Cases(0, 60, 1, DType.F64).Concat(LongCases(DType.F64)))
        {
            TensorPanel[] inputs = Inputs(c, Spread.Tame);
            foreach (TensorPanel input in inputs)
            {
                for (int i = 0; i < c.Length && input.DType == DType.F64; i++)
                    ((double*)input.Data)[i] = Math.ScaleB(((double*)input.Data)[i], c.Random.Next(3) == 0 ? 0 : 1023 - Math.ILogB(((double*)input.Data)[i]));
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
    public void WeightedSum_and_Combine_may_write_over_an_input([ValueSource(nameof(Types))] DType dtype)
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
    public void Every_value_of_16_bits_is_widened_exactly([Values(DType.F16, DType.BF16)] DType dtype)
    {
        var c = new Case(1 << 16, 0, DType.F64);
        _memory.Begin();
        TensorPanel input = _memory.Panel(dtype, c.Length, true), output = Output(c);
        for (int i = 0; i < c.Length; i++)
            ((ushort*)input.Data)[i] = (ushort)i;
        _backend.WeightedSum([input], [1.0], 1, c.Length, output);
        for (int i = 0; i < c.Length; i++)
        {
            double expected = dtype == DType.F16 ? (double)BitConverter.UInt16BitsToHalf((ushort)i) : BitConverter.Int32BitsToSingle(i << 16);
            double actual = ((double*)output.Data)[i];
            Assert.That(Bits(actual), Is.EqualTo(Bits(expected)), () => $"{dtype} {i:x4}");
        }
    }

    [Test]
    public void Every_halfway_case_of_16_bits_is_rounded_once([Values(DType.F16, DType.BF16)] DType dtype)
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
    public void Float64_is_rounded_once_to_float32()
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

    // ---- groups

    [Test]
    public void AddSquares_is_within_its_bound([Values] bool groupsAreColumns)
    {
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns))
        {
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            int groups = geometry.Groups, stride = groups + 3, depth = groupsAreColumns ? geometry.Rows : geometry.Columns / 8;
            double[] start = SamplePanels.Doubles(inputs.Length * stride, c.Random, Spread.Tame).Select(Math.Abs).ToArray();
            double[] expected = (double[])start.Clone();
            double* actual = _memory.Doubles(start, c.AtEnd);
            fixed (double* sums = expected)
                _reference.AddSquares(inputs, geometry, new GroupValues(sums, stride));
            _backend.AddSquares(inputs, geometry, new GroupValues(actual, stride));
            for (int i = 0; i < start.Length; i++)
            {
                bool between = i % stride >= groups;
                AssertClose(expected[i], actual[i], between ? 0 : (depth + 8) * Epsilon * expected[i], c);
            }

            AssertIntact(c);
        }
    }

    [Test]
    public void AddGram_is_within_its_bound_and_has_the_bits_of_AddSquares([Values] bool groupsAreColumns)
    {
        // many rows of few columns, and more columns than any block, besides the shapes of all
        (int, int)[] more = [(60, 16), (61, 33), (40, 700), (1, 5000), (2, 1500)];
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns).Concat(more.Select((shape, i) =>
            (new Case(shape.Item1 * shape.Item2, 70_000 + i, Types[i % 4]), new PanelGeometry(shape.Item1, shape.Item2, groupsAreColumns)))))
        {
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame, c.Seed % 8 == 0 || c.Seed >= 70_000 ? 1 + c.Seed % 13 : 1 + c.Seed % 5);
            int pairs = GramPairs.Count(inputs.Length), groups = geometry.Groups, stride = groups + c.Seed % 3;
            int depth = groupsAreColumns ? geometry.Rows : geometry.Columns / 8;
            double[] start = SamplePanels.Doubles((pairs - 1) * stride + groups, c.Random, Spread.Tame), expected = (double[])start.Clone();
            double* actual = _memory.Doubles(start, c.AtEnd), squares = _memory.Doubles(new double[inputs.Length * groups], c.AtEnd);
            fixed (double* grams = expected)
                _reference.AddGram(inputs, geometry, new GroupValues(grams, stride));
            _backend.AddGram(inputs, geometry, new GroupValues(actual, stride));
            double[] magnitudes = GramMagnitudes(inputs, geometry, start, stride);
            for (int i = 0; i < start.Length; i++)
                AssertClose(expected[i], actual[i], (depth + 8) * Epsilon * magnitudes[i], c);

            double* diagonal = _memory.Doubles(new double[pairs * groups], c.AtEnd);
            _backend.AddGram(inputs, geometry, new GroupValues(diagonal, groups));
            _backend.AddSquares(inputs, geometry, new GroupValues(squares, groups));
            for (int k = 0; k < inputs.Length; k++)
            {
                for (int g = 0; g < groups; g++)
                    Assert.That(Bits(diagonal[GramPairs.Index(k, k) * groups + g]), Is.EqualTo(Bits(squares[k * groups + g])), () => $"{c} {geometry}");
            }

            AssertIntact(c);
        }
    }

    /// <summary>What each sum is made of: the magnitudes of its start and of all products; between the rows of pairs nothing.</summary>
    private static double[] GramMagnitudes(TensorPanel[] inputs, PanelGeometry geometry, double[] start, int stride)
    {
        var magnitudes = new double[start.Length];
        for (int k = 0; k < inputs.Length; k++)
        {
            for (int j = 0; j <= k; j++)
            {
                int row = GramPairs.Index(j, k) * stride;
                for (int g = 0; g < geometry.Groups; g++)
                    magnitudes[row + g] = Math.Abs(start[row + g]);
                for (int i = 0; i < geometry.Length; i++)
                    magnitudes[row + (geometry.GroupsAreColumns ? i % geometry.Columns : i / geometry.Columns)] += Math.Abs(At(inputs[j], i) * At(inputs[k], i));
            }
        }

        return magnitudes;
    }

    [Test]
    public void Combine_has_the_reference_bits_and_its_squares_their_bound([Values] bool groupsAreColumns)
    {
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns))
        {
            TensorPanel[] inputs = Inputs(c, c.Seed % 4 == 0 ? Spread.Extreme : Spread.Tame);
            int groups = geometry.Groups, stride = groups + c.Seed % 3, depth = groupsAreColumns ? geometry.Rows : geometry.Columns / 8;
            double* coefficients = _memory.Doubles(
                SamplePanels.Doubles((inputs.Length - 1) * stride + groups, c.Random, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame), c.AtEnd);
            var values = new GroupValues(coefficients, stride);
            double* scales = c.Seed % 2 == 0 ? null : _memory.Doubles(SamplePanels.Doubles(groups, c.Random, Spread.Tame), c.AtEnd);
            double[] start = SamplePanels.Doubles(groups, c.Random, Spread.Tame).Select(Math.Abs).ToArray(), expectedSquares = (double[])start.Clone();
            bool writes = c.Seed % 5 != 0, squares = c.Seed % 3 != 0;
            TensorPanel expected = writes ? Output(c) : default, actual = writes ? Output(c) : default;
            double* actualSquares = _memory.Doubles(start, c.AtEnd);
            long expectedCount, actualCount;
            fixed (double* sums = expectedSquares)
                expectedCount = _reference.Combine(inputs, geometry, values, scales, expected, squares ? sums : null);
            actualCount = _backend.Combine(inputs, geometry, values, scales, actual, squares ? actualSquares : null);
            if (writes)
                AssertSame(expected, actual, c);
            Assert.That(actualCount, Is.EqualTo(expectedCount), () => $"{c} {geometry}");
            for (int g = 0; g < groups; g++)
                AssertClose(expectedSquares[g], actualSquares[g], squares ? (depth + 8) * Epsilon * expectedSquares[g] : 0, c);
            AssertIntact(c);
        }
    }

    [Test]
    public void AddProjections_is_within_its_bound([Values] bool groupsAreColumns)
    {
        foreach ((Case c, PanelGeometry geometry) in Geometries(groupsAreColumns))
        {
            Spread spread = c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame;
            TensorPanel[] inputs = Inputs(c, spread);
            int groups = geometry.Groups;
            // no infinite scale: times a sum of rows it is infinite where the sum of its products would be NaN
            double* a = _memory.Doubles([.. SamplePanels.Doubles(inputs.Length * groups, c.Random, spread).Select(value => double.IsInfinity(value) ? 1 : value)], c.AtEnd);
            double* b = _memory.Doubles(SamplePanels.Doubles(inputs.Length * groups, c.Random, spread), c.AtEnd);
            GroupValues scales = new(a, groups), coefficients = new(b, groups);
            double[] expected = SamplePanels.Doubles(inputs.Length, c.Random, Spread.Tame), actual = (double[])expected.Clone();
            double[] magnitudes = expected.Select(Math.Abs).ToArray();
            int blocks = (geometry.Columns + PanelGeometry.ProjectionBlock - 1) / PanelGeometry.ProjectionBlock;
            int depth = geometry.Rows * blocks + Math.Min(geometry.Columns, PanelGeometry.ProjectionBlock) / 8;
            AddProjectionMagnitudes(inputs, geometry, scales, coefficients, magnitudes);
            _reference.AddProjections(inputs, geometry, scales, coefficients, expected);
            _backend.AddProjections(inputs, geometry, scales, coefficients, actual);
            for (int k = 0; k < expected.Length; k++)
                AssertClose(expected[k], actual[k], (depth + 8) * Epsilon * magnitudes[k], c);
            AssertIntact(c);
        }
    }

    private static void AddProjectionMagnitudes(TensorPanel[] inputs, PanelGeometry geometry, GroupValues a, GroupValues b, double[] magnitudes)
    {
        for (int i = 0; i < geometry.Length; i++)
        {
            int group = geometry.GroupsAreColumns ? i % geometry.Columns : i / geometry.Columns;
            double t = 0;
            for (int k = 0; k < inputs.Length; k++)
                t = k == 0 ? b.Row(0)[group] * At(inputs[0], i) : Math.FusedMultiplyAdd(b.Row(k)[group], At(inputs[k], i), t);
            for (int k = 0; k < inputs.Length; k++)
                magnitudes[k] += Math.Abs(a.Row(k)[group] * (At(inputs[k], i) * t));
        }
    }

    // ---- importance

    [Test]
    public void CountNonFinite_counts([ValueSource(nameof(Types))] DType dtype)
    {
        foreach (Case c in Cases(0, 257, 1, dtype).Concat(LongCases(dtype)))
        {
            _memory.Begin();
            TensorPanel input = _memory.Panel(dtype, c.Length, c.AtEnd);
            SamplePanels.Fill(input.Data, dtype, c.Length, c.Random, Spread.Extreme);
            Assert.That(_backend.CountNonFinite(input, c.Length), Is.EqualTo(_reference.CountNonFinite(input, c.Length)), () => $"{c}");
        }
    }

    [Test]
    public void AddMoments_is_within_its_bound([Values] MomentumRule rule)
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

        // a mean that is off by d shifts the sum of squares by twice the root of n times it, times d, and by n * d^2
        double depth = Math.Min(expected.Count, MagnitudeMoments.Block) / 8.0 + 3.0 * expected.Count / MagnitudeMoments.Block + 16;
        double off = depth * Epsilon * expected.Mean, squares = expected.SquaredDeviations;
        AssertClose(expected.Mean, actual.Mean, off, c);
        AssertClose(squares, actual.SquaredDeviations, 2 * depth * Epsilon * squares + 2 * Math.Sqrt(squares * expected.Count) * off + expected.Count * off * off, c);
    }

    [Test]
    public void SelectImportant_has_the_reference_bits([Values] MomentumRule rule)
    {
        ImportanceScale[] scales = [new(0.7, 1.9), new(0.5, 1.2), new(1, 0), new(1, double.PositiveInfinity), new(0, 1e-3)];
        foreach (Case c in Cases(0, 257, 2, DType.F32).Concat(LongCases(DType.F32)))
        {
            ImportanceInputs inputs = Importance(c, rule, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            ImportanceScale update = scales[c.Random.Next(scales.Length)], global = scales[c.Random.Next(scales.Length)];
            int bytes = (c.Length + 7) / 8;
            byte* expected = c.Seed % 7 == 0 ? null : _memory.Bytes(bytes, c.AtEnd), actual = expected == null ? null : _memory.Bytes(bytes, c.AtEnd);
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
    public void SelectImportant_may_write_over_the_momentum_it_reads()
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
    public void Importance_has_the_reference_bits([Values] MomentumRule rule, [Values] bool sigmoid)
    {
        foreach (Case c in Cases(0, 257, 1, DType.F64).Concat(LongCases(DType.F64)))
        {
            ImportanceInputs inputs = Importance(c, rule, c.Seed % 4 == 0 ? Spread.Wild : Spread.Tame);
            ImportanceScale update = new(0.7, c.Seed % 5 == 0 ? 0 : 1.9), global = new(0.5, c.Seed % 6 == 0 ? double.PositiveInfinity : 1.2);
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
    public void Pack_moves_the_selected_bits([ValueSource(nameof(Types))] DType type)
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
    public void AddProximal_has_the_reference_bits_and_its_sum_its_bound([ValueSource(nameof(Types))] DType gradientType)
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

    // ---- known answers

    [Test]
    public void Known_sums()
    {
        float[] x = [1, 2, float.NaN], y = [3, 5, 7];
        float[] output = new float[3];
        double[] coefficients = [1, 3], squares = [1];
        fixed (float* first = x, second = y, target = output)
        fixed (double* c = coefficients, q = squares)
        {
            TensorPanel[] inputs = [new(first, DType.F32), new(second, DType.F32)];
            Assert.That(_backend.WeightedSum(inputs, coefficients, 4, 3, new TensorPanel(target, DType.F32)), Is.EqualTo(1));
            Assert.That(output, Is.EqualTo(new[] { 2.5f, 4.25f, float.NaN }));
            var geometry = new PanelGeometry(1, 2, GroupsAreColumns: false);
            Assert.That(_backend.Combine(inputs, geometry, new GroupValues(c, 1), null, new TensorPanel(target, DType.F32), q), Is.Zero);
            Assert.That(output[..2], Is.EqualTo(new[] { 10f, 17f }));
            Assert.That(squares, Is.EqualTo(new[] { 1.0 + 100 + 289 }));
            Assert.That(_backend.CountNonFinite(inputs[0], 3), Is.EqualTo(1));
        }
    }

    [Test]
    public void Known_groups()
    {
        // two inputs of 2 rows and 3 columns
        double[] x = [1, 2, 3, 4, 5, 6], y = [1, 0, -1, 2, 0, 1];
        double[] columns = new double[6], rows = new double[4], a = [1, 2, 3, 1, 1, 1], b = [1, 1, 1, 2, 0, 1], dots = [100, 200];
        fixed (double* first = x, second = y, c = columns, r = rows, scales = a, coefficients = b)
        {
            TensorPanel[] inputs = [new(first, DType.F64), new(second, DType.F64)];
            PanelGeometry byColumn = new(2, 3, GroupsAreColumns: true), byRow = new(2, 3, GroupsAreColumns: false);
            _backend.AddSquares(inputs, byColumn, new GroupValues(c, 3));
            Assert.That(columns, Is.EqualTo(new double[] { 17, 29, 45, 5, 0, 2 }));
            _backend.AddSquares(inputs, byRow, new GroupValues(r, 2));
            Assert.That(rows, Is.EqualTo(new double[] { 14, 77, 2, 5 }));
            double* g = stackalloc double[9] { 0, 0, 0, 100, 0, 0, 0, 0, 0 };
            _backend.AddGram(inputs, byColumn, new GroupValues(g, 3));
            Assert.That(new Span<double>(g, 9).ToArray(), Is.EqualTo(new double[] { 17, 29, 45, 109, 0, 3, 5, 0, 2 }), "x x, then x y, then y y");
            double* h = stackalloc double[6];
            new Span<double>(h, 6).Clear();
            _backend.AddGram(inputs, byRow, new GroupValues(h, 2));
            Assert.That(new Span<double>(h, 6).ToArray(), Is.EqualTo(new double[] { 14, 77, -2, 14, 2, 5 }));
            // t = [1+2, 2, 3-1; 4+4, 5, 6+1]
            _backend.AddProjections(inputs, byColumn, new GroupValues(scales, 3), new GroupValues(coefficients, 3), dots);
            Assert.That(dots, Is.EqualTo(new double[] { 100 + 3 + 8 + 18 + 32 + 50 + 126, 200 + 3 - 2 + 16 + 7 }));
        }
    }

    [Test]
    public void Known_importance()
    {
        double[] local = [2, 1, 5, -3], global = [1, -1, 2, 1], importance = new double[4];
        fixed (double* l = local, g = global, z = importance)
        {
            var inputs = new ImportanceInputs(new TensorPanel(g, DType.F64), new TensorPanel(l, DType.F64), default, MomentumRule.None, 0);
            MagnitudeMoments u = default, m = default;
            _backend.AddMoments(inputs, 4, ref u, ref m);
            Assert.That((u.Count, u.Mean, u.SquaredDeviations, u.Minimum, u.Maximum), Is.EqualTo((4L, 2.5, 5.0, 1.0, 4.0)));
            Assert.That((m.Count, m.Mean, m.SquaredDeviations, m.Minimum, m.Maximum), Is.EqualTo((4L, 1.25, 0.75, 1.0, 2.0)));
            byte mask;
            // |u| = 1 2 3 4, z_u = -1 0 1 2; |g| = 1 1 2 1, z_g = -2 -2 0 -2: all but a tie
            Assert.That(_backend.SelectImportant(inputs, 4, new(2, 1), new(2, 0.5), &mask, default), Is.EqualTo(4));
            Assert.That(mask, Is.EqualTo(0b1111));
            Assert.That(_backend.SelectImportant(inputs, 4, new(3, 1), new(2, 0.5), &mask, default), Is.EqualTo(2), "z_u = -2 -1 0 1");
            Assert.That(mask, Is.EqualTo(0b1010), "equal importances keep the received value");
            Assert.That(_backend.SelectImportant(inputs, 4, new(3, 0), new(2, 0.5), &mask, default), Is.EqualTo(4), "no spread is not unimportant");
            Assert.That(mask, Is.EqualTo(0b1111));
            var unchanged = new ImportanceInputs(inputs.Global, inputs.Global, default, MomentumRule.None, 0);
            Assert.That(_backend.SelectImportant(unchanged, 4, new(0, 0), new(2, 0.5), &mask, default), Is.Zero);
            Assert.That(mask, Is.Zero);
            Assert.That(_backend.SelectImportant(inputs, 4, new(3, 1), new(2, 0), &mask, default), Is.EqualTo(4));
            Assert.That(mask, Is.EqualTo(0b1111));
            _backend.Importance(inputs, 4, new(3, 2), new(2, 0.5), false, z, null);
            Assert.That(importance, Is.EqualTo(new[] { -1, -0.5, 0, 0.5 }));
            _backend.Importance(inputs, 4, new(3, 1), new(2, 0.5), true, null, z);
            Assert.That(importance[2], Is.EqualTo(0.5));
            Assert.That(importance[0], Is.EqualTo(1 / (1 + Math.E * Math.E)).Within(1e-16));
            Assert.That(_backend.AddProximal(inputs.Local, inputs.Global, 2, 4, new TensorPanel(l, DType.F64)), Is.EqualTo(1 + 4 + 9 + 16));
            Assert.That(local, Is.EqualTo(new double[] { 4, 5, 11, -11 }));
        }
    }

    [Test]
    public void The_importances_of_the_method()
    {
        // method.md, section 3: theta_g, u, theta_k, and the G and S of an independent float64 implementation
        double[] global = [1, -.2, .5, .1], momentum = [.05, -.4, .3, .02], local = [1.05, -.6, .8, .12], g = new double[4], s = new double[4];
        fixed (double* x = global, u = momentum, y = local, importanceOfGlobal = g, importanceOfUpdate = s)
        {
            var inputs = new ImportanceInputs(new TensorPanel(x, DType.F64), new TensorPanel(y, DType.F64), new TensorPanel(u, DType.F64), MomentumRule.Supplied, 0);
            MagnitudeMoments ofUpdate = default, ofGlobal = default;
            _backend.AddMoments(inputs, 4, ref ofUpdate, ref ofGlobal);
            ImportanceScale update = new(ofUpdate.Mean, ofUpdate.StandardDeviation), received = new(ofGlobal.Mean, ofGlobal.StandardDeviation);
            _backend.Importance(inputs, 4, update, received, sigmoid: true, importanceOfUpdate, importanceOfGlobal);
            Assert.That(g, Is.EqualTo(new[] { .79590546, .35010230, .53089009, .29608201 }).Within(5e-9));
            Assert.That(s, Is.EqualTo(new[] { .31802216, .75228841, .64003200, .28424903 }).Within(5e-9));
            byte mask;
            Assert.That(_backend.SelectImportant(inputs, 4, update, received, &mask, default), Is.EqualTo(2));
            Assert.That(mask, Is.EqualTo(0b0110), "where S > G");
        }
    }

    [Test]
    public void An_infinite_coefficient_does_not_reach_past_the_end([Values] bool groupsAreColumns, [Range(1, 9)] int columns)
    {
        double[] x = Enumerable.Repeat(1.0, columns).ToArray(), infinite = Enumerable.Repeat(double.PositiveInfinity, columns).ToArray(), dots = [0];
        fixed (double* input = x, a = infinite)
        {
            var values = new GroupValues(a, columns);
            _backend.AddProjections([new TensorPanel(input, DType.F64)], new PanelGeometry(1, columns, groupsAreColumns), values, values, dots);
            Assert.That(dots[0], Is.EqualTo(double.PositiveInfinity));
            double squares = 0;
            _backend.Combine([new TensorPanel(input, DType.F64)], new PanelGeometry(1, columns, false), values, null, default, &squares);
            Assert.That(squares, Is.EqualTo(double.PositiveInfinity));
        }
    }

    [Test]
    public void A_type_that_is_not_computed_is_refused()
    {
        long data = 0;
        var panel = new TensorPanel(&data, DType.I32);
        Assert.Throws<ArgumentException>(() => _backend.WeightedSum([panel], [1.0], 1, 1, panel));
        Assert.Throws<ArgumentException>(() => _backend.CountNonFinite(panel, 1));
        Assert.Throws<ArgumentException>(() => _backend.WeightedSum([], [], 1, 1, panel));
        Assert.Throws<ArgumentException>(() => _backend.WeightedSum([panel, panel], [1.0], 1, 1, panel));
    }

    // ---- cases

    /// <summary>A length, and all that is drawn by chance from the seed.</summary>
    private sealed record Case(int Length, int Seed, DType Output)
    {
        public Random Random { get; } = new(Seed);

        public bool AtEnd { get; } = Seed % 2 == 0;
    }

    private static IEnumerable<Case> Cases(int shortest, int longest, int times, DType output) =>
        from length in Enumerable.Range(shortest, longest - shortest + 1)
        from time in Enumerable.Range(0, times)
        select new Case(length, length * 31 + time * 7 + (int)output, output);

    private static IEnumerable<Case> LongCases(DType output) => LongLengths.Select((length, i) => new Case(length, 90_000 + i * 5 + (int)output, output));

    private static IEnumerable<(Case, PanelGeometry)> Geometries(bool groupsAreColumns)
    {
        int seed = 0;
        foreach (int rows in Enumerable.Range(0, 10))
        {
            foreach (int columns in Enumerable.Range(0, 258).Concat([511, 512, 1023, 1024, 1025, 2047, 2049, 2055]))
            {
                seed++;
                yield return (new Case(rows * columns, seed, Types[(seed + rows) % 4]), new PanelGeometry(rows, columns, groupsAreColumns));
            }
        }

        (int, int)[] large = [(3, 33_335), (513, 17), (67, 1031), (1, 100_003), (1031, 3), (5003, 1)];
        foreach ((int rows, int columns) in large)
            yield return (new Case(rows * columns, ++seed, Types[seed % 4]), new PanelGeometry(rows, columns, groupsAreColumns));
    }

    private TensorPanel[] Inputs(Case c, Spread spread) => Inputs(c, spread, Counts[c.Random.Next(Counts.Length)]);

    private TensorPanel[] Inputs(Case c, Spread spread, int count)
    {
        _memory.Begin();
        var inputs = new TensorPanel[count];
        DType all = Types[c.Random.Next(Types.Length)];
        bool mixed = c.Random.Next(3) == 0;
        for (int k = 0; k < inputs.Length; k++)
        {
            inputs[k] = _memory.Panel(mixed ? Types[c.Random.Next(Types.Length)] : all, c.Length, c.AtEnd);
            SamplePanels.Fill(inputs[k].Data, inputs[k].DType, c.Length, c.Random, spread);
        }

        return inputs;
    }

    private ImportanceInputs Importance(Case c, MomentumRule rule, Spread spread)
    {
        _memory.Begin();
        TensorPanel Next()
        {
            TensorPanel panel = _memory.Panel(Types[c.Random.Next(Types.Length)], c.Length, c.AtEnd);
            SamplePanels.Fill(panel.Data, panel.DType, c.Length, c.Random, spread);
            return panel;
        }

        return new ImportanceInputs(
            Next(), rule == MomentumRule.Supplied ? default : Next(), rule == MomentumRule.None ? default : Next(), rule, c.Random.Next(10) / 10.0);
    }

    private TensorPanel Output(Case c) => _memory.Panel(c.Output, c.Length, c.AtEnd);

    private static double[] Weights(Case c, int count)
    {
        double[] weights = SamplePanels.Doubles(count, c.Random, Spread.Tame);
        if (c.Seed % 4 == 1)
            Array.Fill(weights, 1);
        return weights;
    }

    // ---- assertions

    private static double At(TensorPanel panel, long i) => Rounding.Read(panel.Data, panel.DType, i);

    /// <summary>The bits, of which NaN has none of its own.</summary>
    private static long Bits(double value) => double.IsNaN(value) ? long.MaxValue : BitConverter.DoubleToInt64Bits(value);

    private static void AssertSame(TensorPanel expected, TensorPanel actual, Case c)
    {
        int size = expected.DType.BitSize / 8;
        ReadOnlySpan<byte> first = new(expected.Data, c.Length * size), second = new(actual.Data, c.Length * size);
        int at = first.CommonPrefixLength(second) / size;
        if (at < c.Length)
            Assert.Fail($"{c} at {at}: {At(actual, at)}, not {At(expected, at)}");
    }

    private static void AssertClose(double expected, double actual, double bound, Case c)
    {
        if (double.IsFinite(expected) && double.IsFinite(actual))
        {
            // products below the normal range lose up to a unit of the last subnormal place each
            if (Math.Abs(expected - actual) > bound + c.Length * double.Epsilon)
                Assert.Fail($"{c}: {actual:R}, not {expected:R}; off by {Math.Abs(expected - actual):R}, bound {bound:R}");
        }
        else if (Bits(expected) != Bits(actual))
        {
            Assert.Fail($"{c}: {actual:R}, not {expected:R}");
        }
    }

    private void AssertIntact(Case c)
    {
        if (!_memory.AreIntact())
            Assert.Fail($"{c}: written outside of a panel");
    }
}
