using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

/// <summary>
/// The contract of every backend, tested against the float64 reference. Values of single elements have the bits of the
/// reference. Sums over elements are within (depth + 8) * 2^-53 of the sum of the terms' magnitudes, where depth is the
/// longest chain of additions in the shape that the verb states. All panels are in guarded memory.
/// </summary>
/// <param name="create">Creates the backend.</param>
/// <param name="everyShape">
/// Whether all numbers of columns from 0 to 257 are tested, as .ci/run does, and not only some of them.
/// </param>
public abstract unsafe partial class BackendContractTests(Func<IClientBackend> create, bool everyShape)
{
    /// <summary>The relative error of one rounding of float64.</summary>
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

    /// <summary>A test case: a length, and random data from a seed.</summary>
    private sealed record Case(int Length, int Seed, DType Output)
    {
        public Random Random { get; } = new(Seed);

        public bool AtEnd { get; } = Seed % 2 == 0;
    }

    private static IEnumerable<Case> Cases(int shortest, int longest, int times, DType output) =>
        from length in Enumerable.Range(shortest, longest - shortest + 1)
        from time in Enumerable.Range(0, times)
        select new Case(length, length * 31 + time * 7 + (int)output, output);

    private static IEnumerable<Case> LongCases(DType output) =>
        LongLengths.Select((length, i) => new Case(length, 90_000 + i * 5 + (int)output, output));

    private IEnumerable<(Case, PanelGeometry)> Geometries(bool groupsAreColumns)
    {
        int seed = 0;
        // the widths of registers and of unrolled loops, one to each side of them, and some numbers between
        IEnumerable<int> narrow = Enumerable.Range(0, 258)
            .Where(columns => everyShape || columns < 20 || (columns + 1) % 32 < 3 || columns % 29 == 0);
        foreach (int rows in Enumerable.Range(0, 10))
        {
            foreach (int columns in narrow.Concat([511, 512, 1023, 1024, 1025, 2047, 2049, 2055]))
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
            Next(), rule == MomentumRule.Supplied ? default : Next(), rule == MomentumRule.None ? default : Next(), rule,
            c.Random.Next(10) / 10.0);
    }

    private TensorPanel Output(Case c) => _memory.Panel(c.Output, c.Length, c.AtEnd);

    private static double[] Weights(Case c, int count)
    {
        double[] weights = SamplePanels.Doubles(count, c.Random, Spread.Tame);
        if (c.Seed % 4 == 1)
            Array.Fill(weights, 1);
        return weights;
    }

    private static double At(TensorPanel panel, long i) => Rounding.Read(panel.Data, panel.DType, i);

    /// <summary>Returns the bits of a value; all NaNs are the same.</summary>
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
            // each product below the normal range may be off by one unit of the smallest subnormal
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
            Assert.Fail($"{c}: a verb wrote outside of a panel");
    }
}
