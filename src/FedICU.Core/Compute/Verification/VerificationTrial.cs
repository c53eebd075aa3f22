using System.Numerics;
using FedICU.Compute.Reference;
using FedICU.Memory;

namespace FedICU.Compute.Verification;

/// <summary>The trials of one type: each verb on many shapes, against the reference; each returns its worst error over what is allowed.</summary>
internal sealed unsafe class VerificationTrial(IComputeBackend backend, DType dtype, int seed, bool quick) : IDisposable
{
    private const double Epsilon = 1.0 / (1L << 52);

    // around the widths of registers, unrolled loops and blocks, and some that are odd
    private readonly int[] _lengths = quick ? [0, 1, 17, 257, 4099] : [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257, 1031, 2049, 4099];
    private readonly (int Rows, int Columns)[] _shapes = quick ? [(1, 7), (33, 17), (3, 2051)] : [(1, 1), (1, 7), (9, 1), (3, 8), (7, 9), (2, 257), (33, 17), (3, 2051), (515, 3)];
    private readonly int[] _inputCounts = quick ? [1, 3] : [1, 2, 3, 5, 9];

    private readonly ReferenceBackend _reference = ReferenceBackend.Instance;
    private readonly Random _random = new(unchecked(seed * 397 ^ (int)dtype));
    private readonly List<GuardedPanel> _panels = [];
    private double _worst;

    /// <summary>Elements of the inputs tried.</summary>
    public long Elements { get; private set; }

    public double WeightedSum()
    {
        foreach (int length in _lengths)
        {
            foreach (int count in _inputCounts)
            {
                // values that are not finite, and inputs of all types at once, in every other trial
                TensorPanel[] inputs = Inputs(count, length, mixed: count % 2 == 0, nonFinite: length % 2 == 0);
                double[] weights = Numbers(count);
                GuardedPanel actual = Output(dtype, length), expected = Output(dtype, length);
                long found = backend.WeightedSum(inputs, weights, 3.7, length, actual.Panel);
                Exact(found, _reference.WeightedSum(inputs, weights, 3.7, length, expected.Panel));
                Exact(actual.Bytes.SequenceEqual(expected.Bytes));
                Finish();
            }
        }

        return _worst;
    }

    public double AddSquares()
    {
        ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = Inputs(count, geometry.Length, mixed: false, nonFinite: false);
            GuardedPanel actual = Sums(count * geometry.Groups, out GuardedPanel expected);
            backend.AddSquares(inputs, geometry, Values(actual, geometry.Groups));
            _reference.AddSquares(inputs, geometry, Values(expected, geometry.Groups));
            CompareSums(actual, expected, geometry.Length);
        });
        return _worst;
    }

    public double AddGram()
    {
        ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = Inputs(count, geometry.Length, mixed: count % 2 == 0, nonFinite: false);
            GuardedPanel actual = Sums(GramPairs.Count(count) * geometry.Groups, out GuardedPanel expected);
            backend.AddGram(inputs, geometry, Values(actual, geometry.Groups));
            _reference.AddGram(inputs, geometry, Values(expected, geometry.Groups));
            for (int k = 0; k < count; k++)
            {
                for (int j = 0; j <= k; j++)
                {
                    for (int g = 0; g < geometry.Groups; g++)
                    {
                        // each sum began between 0 and 1
                        int i = GramPairs.Index(j, k) * geometry.Groups + g;
                        Bounded(actual[i], expected[i], (geometry.Length + 16) * Epsilon * (1 + Magnitude(inputs[j], inputs[k], geometry, g)));
                    }
                }
            }
        });
        return _worst;
    }

    public double AddProjections()
    {
        ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = Inputs(count, geometry.Length, mixed: false, nonFinite: false);
            GroupValues a = Values(Filled(count * geometry.Groups), geometry.Groups), b = Values(Filled(count * geometry.Groups), geometry.Groups);
            double[] actual = Numbers(count), expected = [.. actual], start = [.. actual];
            backend.AddProjections(inputs, geometry, a, b, actual);
            _reference.AddProjections(inputs, geometry, a, b, expected);
            for (int k = 0; k < count; k++)
                Bounded(actual[k], expected[k], Math.Abs(start[k]) * Epsilon + ProjectionBound(inputs, geometry, a, b, k));
        });
        return _worst;
    }

    public double Combine()
    {
        ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = Inputs(count, geometry.Length, mixed: count % 2 == 0, nonFinite: false);
            GroupValues coefficients = Values(Filled(count * geometry.Groups), geometry.Groups);
            double* scales = count % 3 == 0 ? null : Values(Filled(geometry.Groups), geometry.Groups).Data;
            GuardedPanel actual = Output(dtype, geometry.Length), expected = Output(dtype, geometry.Length);
            GuardedPanel squares = Sums(geometry.Groups, out GuardedPanel expectedSquares);
            long found = backend.Combine(inputs, geometry, coefficients, scales, actual.Panel, (double*)squares.Panel.Data);
            Exact(found, _reference.Combine(inputs, geometry, coefficients, scales, expected.Panel, (double*)expectedSquares.Panel.Data));
            CompareElements(actual, expected);
            CompareSums(squares, expectedSquares, geometry.Length);

            // each of the two outputs may be left out, and the other stays what it is
            GuardedPanel alone = Output(dtype, geometry.Length), squaresAlone = Sums(geometry.Groups, out GuardedPanel expectedAlone);
            Exact(backend.Combine(inputs, geometry, coefficients, scales, alone.Panel, null), found);
            Exact(alone.Bytes.SequenceEqual(actual.Bytes));
            Exact(backend.Combine(inputs, geometry, coefficients, scales, default, (double*)squaresAlone.Panel.Data), 0);
            _reference.Combine(inputs, geometry, coefficients, scales, default, (double*)expectedAlone.Panel.Data);
            CompareSums(squaresAlone, expectedAlone, geometry.Length);
        });
        return _worst;
    }

    public double CountNonFinite()
    {
        foreach (int length in _lengths)
        {
            foreach (bool nonFinite in (ReadOnlySpan<bool>)[false, true])
            {
                TensorPanel input = Inputs(1, length, mixed: false, nonFinite)[0];
                Exact(backend.CountNonFinite(input, length), _reference.CountNonFinite(input, length));
                Finish();
            }
        }

        return _worst;
    }

    public double AddMoments()
    {
        ForEachImportance((inputs, length) =>
        {
            MagnitudeMoments actualU = default, actualG = default, expectedU = default, expectedG = default;
            backend.AddMoments(inputs, length, ref actualU, ref actualG);
            _reference.AddMoments(inputs, length, ref expectedU, ref expectedG);
            CompareMoments(actualU, expectedU);
            CompareMoments(actualG, expectedG);
        });
        return _worst;
    }

    public double SelectImportant()
    {
        ForEachImportance((inputs, length) =>
        {
            (ImportanceScale update, ImportanceScale received) = Scales(inputs, length);
            var constant = update with { Spread = 0 };
            var all = received with { Spread = 0 };
            foreach ((ImportanceScale u, ImportanceScale g) in (ReadOnlySpan<(ImportanceScale, ImportanceScale)>)[(update, received), (constant, received), (update, all)])
                TrySelect(inputs, length, u, g);
        });
        return _worst;
    }

    public double Importance()
    {
        ForEachImportance((inputs, length) =>
        {
            (ImportanceScale update, ImportanceScale received) = Scales(inputs, length);
            foreach (bool sigmoid in (ReadOnlySpan<bool>)[false, true])
            {
                GuardedPanel actualU = Output(DType.F64, length), actualG = Output(DType.F64, length);
                GuardedPanel expectedU = Output(DType.F64, length), expectedG = Output(DType.F64, length);
                backend.Importance(inputs, length, update, received, sigmoid, (double*)actualU.Panel.Data, (double*)actualG.Panel.Data);
                _reference.Importance(inputs, length, update, received, sigmoid, (double*)expectedU.Panel.Data, (double*)expectedG.Panel.Data);
                for (int i = 0; i < length; i++)
                {
                    Bounded(actualU[i], expectedU[i], ScalarMath.Tie * (1 + Math.Abs(expectedU[i])));
                    Bounded(actualG[i], expectedG[i], ScalarMath.Tie * (1 + Math.Abs(expectedG[i])));
                }
            }
        });
        return _worst;
    }

    public double Pack()
    {
        foreach (int length in _lengths)
        {
            // nearly none, half, nearly all
            foreach (double share in (ReadOnlySpan<double>)[0.01, 0.5, 0.99])
            {
                TensorPanel source = Inputs(1, length, mixed: false, nonFinite: true)[0];
                byte[] mask = new byte[(length + 7) / 8 + 1];
                for (int i = 0; i < length; i++)
                    mask[i / 8] |= (byte)(_random.NextDouble() < share ? 1 << i % 8 : 0);
                int room = length + IComputeBackend.PackSlack / (dtype.BitSize / 8);
                GuardedPanel actual = Output(dtype, room), expected = Output(dtype, room);
                fixed (byte* bits = mask)
                {
                    long count = _reference.Pack(source, length, bits, expected.Panel.Data);
                    Exact(backend.Pack(source, length, bits, actual.Panel.Data), count);
                    int bytes = (int)count * (dtype.BitSize / 8);
                    Exact(actual.Bytes[..bytes].SequenceEqual(expected.Bytes[..bytes]));
                }

                Finish();
            }
        }

        return _worst;
    }

    public double AddProximal()
    {
        foreach (int length in _lengths)
        {
            TensorPanel[] inputs = Inputs(3, length, mixed: false, nonFinite: false);
            GuardedPanel actual = Output(dtype, length), expected = Output(dtype, length);
            for (int i = 0; i < length; i++)
                actual[i] = expected[i] = Rounding.Read(inputs[2].Data, dtype, i);
            double value = _reference.AddProximal(inputs[0], inputs[1], 0.3, length, expected.Panel);
            Bounded(backend.AddProximal(inputs[0], inputs[1], 0.3, length, actual.Panel), value, (length + 16) * Epsilon * value);
            Bounded(backend.AddProximal(inputs[0], inputs[1], 0.3, length, default), value, (length + 16) * Epsilon * value);
            CompareElements(actual, expected);
            Finish();
        }

        return _worst;
    }

    public void Dispose() => Release();

    private void TrySelect(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale received)
    {
        DType momentumType = dtype == DType.F64 ? DType.F64 : DType.F32;
        int bytes = (length + 7) / 8;
        // the mask is a panel of bytes: its guards are what matters, so any type of whole bytes will do
        GuardedPanel actual = Guarded(DType.U8, bytes), expected = Guarded(DType.U8, bytes);
        GuardedPanel momentum = Output(momentumType, length), expectedMomentum = Output(momentumType, length);
        long selected = backend.SelectImportant(inputs, length, update, received, (byte*)actual.Panel.Data, momentum.Panel);
        _reference.SelectImportant(inputs, length, update, received, (byte*)expected.Panel.Data, expectedMomentum.Panel);
        CompareElements(momentum, expectedMomentum);
        long set = 0;
        foreach (byte part in actual.Bytes)
            set += BitOperations.PopCount(part);
        Exact(selected, set);
        Exact(backend.SelectImportant(inputs, length, update, received, null, default), selected);
        Exact(length % 8 == 0 || actual.Bytes[^1] >> length % 8 == 0);
        if (actual.Bytes.SequenceEqual(expected.Bytes))
            return;
        // with a deviation of zero nothing is compared, so nothing ties
        Exact(update.Spread != 0 && received.Spread != 0);
        double[] zu = new double[length], zg = new double[length];
        fixed (double* u = zu, g = zg)
            _reference.Importance(inputs, length, update, received, sigmoid: false, u, g);
        for (int i = 0; i < length; i++)
        {
            if (((actual.Bytes[i / 8] ^ expected.Bytes[i / 8]) >> i % 8 & 1) != 0)
                Bounded(zu[i], zg[i], 1e-9);
        }
    }

    private void CompareMoments(in MagnitudeMoments actual, in MagnitudeMoments expected)
    {
        Exact(actual.Count, expected.Count);
        double bound = (expected.Count + 16) * Epsilon * expected.Maximum;
        Bounded(actual.Mean, expected.Mean, bound);
        Bounded(actual.SquaredDeviations, expected.SquaredDeviations, bound * expected.Maximum * expected.Count);
        Bounded(actual.Minimum, expected.Minimum, 4 * Epsilon * expected.Maximum);
        Bounded(actual.Maximum, expected.Maximum, 4 * Epsilon * expected.Maximum);
    }

    private void CompareSums(GuardedPanel actual, GuardedPanel expected, int elements)
    {
        for (int i = 0; i < actual.Length; i++)
            Bounded(actual[i], expected[i], (elements + 16) * Epsilon * Math.Abs(expected[i]));
    }

    private void CompareElements(GuardedPanel actual, GuardedPanel expected)
    {
        double largest = 0;
        for (int i = 0; i < expected.Length; i++)
            largest = Math.Max(largest, double.IsFinite(expected[i]) ? Math.Abs(expected[i]) : 0);
        for (int i = 0; i < expected.Length; i++)
            Bounded(actual[i], expected[i], actual.Panel.DType == DType.F64 ? 32 * Epsilon * largest : LastPlace(actual.Panel.DType, expected[i]));
    }

    private static double LastPlace(DType dtype, double value)
    {
        (int mantissa, int least) = dtype switch { DType.F32 => (23, -126), DType.F16 => (10, -14), _ => (7, -126) };
        return value == 0 || !double.IsFinite(value) ? Math.ScaleB(1, least - mantissa) : Math.ScaleB(1, Math.Max(Math.ILogB(value), least) - mantissa);
    }

    /// <summary>What the sum of one projection may lose: n * 2^-52 of the sum of magnitudes.</summary>
    private static double ProjectionBound(TensorPanel[] inputs, PanelGeometry geometry, GroupValues a, GroupValues b, int k)
    {
        double sum = 0;
        for (int i = 0; i < geometry.Length; i++)
        {
            int group = geometry.GroupsAreColumns ? i % geometry.Columns : i / geometry.Columns;
            double combination = 0;
            for (int j = 0; j < inputs.Length; j++)
                combination += Math.Abs(b.Row(j)[group] * Rounding.Read(inputs[j].Data, inputs[j].DType, i));
            sum += Math.Abs(a.Row(k)[group]) * (Math.Abs(Rounding.Read(inputs[k].Data, inputs[k].DType, i)) * combination);
        }

        return (geometry.Length + 16 + inputs.Length) * Epsilon * sum;
    }

    /// <summary>The sum of |x y| over one group.</summary>
    private static double Magnitude(TensorPanel x, TensorPanel y, PanelGeometry geometry, int group)
    {
        double sum = 0;
        bool columns = geometry.GroupsAreColumns;
        for (int i = 0; i < (columns ? geometry.Rows : geometry.Columns); i++)
        {
            long at = columns ? (long)i * geometry.Columns + group : (long)group * geometry.Columns + i;
            sum += Math.Abs(Rounding.Read(x.Data, x.DType, at) * Rounding.Read(y.Data, y.DType, at));
        }

        return sum;
    }

    private void ForEachShape(Action<PanelGeometry, int> trial)
    {
        foreach ((int rows, int columns) in _shapes)
        {
            foreach (bool groupsAreColumns in (ReadOnlySpan<bool>)[true, false])
            {
                foreach (int count in _inputCounts)
                {
                    trial(new PanelGeometry(rows, columns, groupsAreColumns), count);
                    Finish();
                }
            }
        }
    }

    private void ForEachImportance(Action<ImportanceInputs, int> trial)
    {
        foreach (int length in _lengths)
        {
            foreach (MomentumRule rule in (ReadOnlySpan<MomentumRule>)[MomentumRule.None, MomentumRule.Ema, MomentumRule.Supplied])
            {
                TensorPanel[] inputs = Inputs(2, length, mixed: false, nonFinite: false);
                TensorPanel momentum = Filled(length, dtype == DType.F64 ? DType.F64 : DType.F32).Panel;
                trial(new ImportanceInputs(inputs[0], inputs[1], momentum, rule, 0.9), length);
                Finish();
            }
        }
    }

    private (ImportanceScale Update, ImportanceScale Received) Scales(in ImportanceInputs inputs, int length)
    {
        MagnitudeMoments u = default, g = default;
        _reference.AddMoments(inputs, length, ref u, ref g);
        return (new ImportanceScale(u.Mean, u.StandardDeviation), new ImportanceScale(g.Mean, g.StandardDeviation));
    }

    private TensorPanel[] Inputs(int count, int length, bool mixed, bool nonFinite)
    {
        Elements += (long)count * length;
        var inputs = new TensorPanel[count];
        for (int k = 0; k < count; k++)
        {
            GuardedPanel panel = Filled(length, mixed ? (DType)(((int)dtype + k) % 4) : dtype);
            if (nonFinite && length > 0)
                panel[_random.Next(length)] = _random.Next(3) switch { 0 => double.NaN, 1 => double.PositiveInfinity, _ => double.NegativeInfinity };
            inputs[k] = panel.Panel;
        }

        return inputs;
    }

    private double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => Number(DType.F64))];

    private GuardedPanel Filled(int length, DType type = DType.F64)
    {
        GuardedPanel panel = Guarded(type, length);
        for (int i = 0; i < length; i++)
            panel[i] = Number(type);
        return panel;
    }

    /// <summary>A number of either sign, most between 2^-6 and 2^6, some zero, some below the type's normal range.</summary>
    private double Number(DType type)
    {
        double sign = _random.Next(2) == 0 ? 1 : -1;
        return sign * _random.Next(24) switch
        {
            0 => 0,
            1 => _random.NextDouble() * type switch { DType.F64 => 1e-310, DType.F16 => 5e-5, _ => 1e-39 },
            2 => 1,
            _ => (1 + _random.NextDouble()) * Math.ScaleB(1, _random.Next(-6, 6)),
        };
    }

    /// <summary>Two equal sets of sums that do not begin at zero: the verbs add to them.</summary>
    private GuardedPanel Sums(int count, out GuardedPanel same)
    {
        GuardedPanel sums = Guarded(DType.F64, count);
        same = Guarded(DType.F64, count);
        for (int i = 0; i < count; i++)
            sums[i] = same[i] = _random.NextDouble();
        return sums;
    }

    private static GroupValues Values(GuardedPanel panel, int groups) => new((double*)panel.Panel.Data, groups);

    private GuardedPanel Output(DType type, int length) => Guarded(type, length);

    private GuardedPanel Guarded(DType type, int length)
    {
        var panel = new GuardedPanel(type, length);
        _panels.Add(panel);
        return panel;
    }

    private void Bounded(double actual, double expected, double bound)
    {
        if (actual == expected || double.IsNaN(actual) && double.IsNaN(expected))
            return;
        double error = Math.Abs(actual - expected) / bound;
        // not a number: one side is NaN or infinite, or nothing was allowed
        _worst = Math.Max(_worst, double.IsNaN(error) ? double.PositiveInfinity : error);
    }

    private void Exact(long actual, long expected) => Exact(actual == expected);

    private void Exact(bool holds) => _worst = holds ? _worst : double.PositiveInfinity;

    private void Finish()
    {
        foreach (GuardedPanel panel in _panels)
            Exact(panel.IsIntact);
        Release();
    }

    private void Release()
    {
        _panels.ForEach(panel => panel.Dispose());
        _panels.Clear();
    }

    /// <summary>A panel that begins as NaNs (all bits set) between two guards; on an element's boundary, and no vector's.</summary>
    private sealed class GuardedPanel : IDisposable
    {
        private const int Guard = 64;
        private const byte GuardByte = 0xA5;

        private readonly NativeBuffer _buffer;
        private readonly int _start, _bytes;

        public GuardedPanel(DType type, int length)
        {
            (Length, _start, _bytes) = (length, Guard + type.BitSize / 8, length * (type.BitSize / 8));
            _buffer = new NativeBuffer(_start + _bytes + Guard);
            All.Fill(GuardByte);
            Panel = new TensorPanel(_buffer.Pointer + _start, type);
            Bytes.Fill(0xFF);
        }

        public int Length { get; }

        public TensorPanel Panel { get; }

        public Span<byte> Bytes => All.Slice(_start, _bytes);

        public bool IsIntact => !All[.._start].ContainsAnyExcept(GuardByte) && !All[(_start + _bytes)..].ContainsAnyExcept(GuardByte);

        private Span<byte> All => new(_buffer.Pointer, _start + _bytes + Guard);

        public double this[int i]
        {
            get => Rounding.Read(Panel.Data, Panel.DType, i);
            set => Rounding.Write(Panel.Data, Panel.DType, i, value);
        }

        public void Dispose() => _buffer.Dispose();
    }
}
