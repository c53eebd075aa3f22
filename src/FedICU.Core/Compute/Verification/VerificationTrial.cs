namespace FedICU.Compute.Verification;

/// <summary>The trial of one verb and type: its cases, their random data, and the worst error.</summary>
/// <param name="type">The type of inputs and outputs.</param>
/// <param name="seed">Determines the random data.</param>
/// <param name="quick">Whether few lengths and shapes are tried.</param>
internal sealed class VerificationTrial(DType type, int seed, bool quick) : IDisposable
{
    // lengths around the widths of registers, unrolled loops and blocks, and some odd ones
    private static readonly int[] QuickLengths = [0, 1, 17, 257, 4099];
    private static readonly int[] AllLengths =
        [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257, 1031, 2049, 4099];

    private static readonly (int Rows, int Columns)[] QuickShapes = [(1, 7), (33, 17), (3, 2051)];
    private static readonly (int Rows, int Columns)[] AllShapes =
        [(1, 1), (1, 7), (9, 1), (3, 8), (7, 9), (2, 257), (33, 17), (3, 2051), (515, 3)];

    private static readonly int[] QuickInputCounts = [1, 3];
    private static readonly int[] AllInputCounts = [1, 2, 3, 5, 9];

    private static readonly double[] NonFiniteValues = [double.NaN, double.PositiveInfinity, double.NegativeInfinity];

    private readonly List<GuardedPanel> _panels = [];

    public DType DType { get; } = type;

    public int[] Lengths { get; } = quick ? QuickLengths : AllLengths;

    public int[] InputCounts { get; } = quick ? QuickInputCounts : AllInputCounts;

    public Random Random { get; } = new(unchecked(seed * 397 ^ (int)type));

    public TrialErrors Errors { get; } = new();

    /// <summary>Gets the number of elements of all inputs so far.</summary>
    public long Elements { get; private set; }

    private (int Rows, int Columns)[] Shapes { get; } = quick ? QuickShapes : AllShapes;

    /// <summary>Runs a case for each shape, axis and number of inputs.</summary>
    public void ForEachShape(Action<PanelGeometry, int> trial)
    {
        foreach ((int rows, int columns) in Shapes)
        {
            foreach (bool groupsAreColumns in (ReadOnlySpan<bool>)[true, false])
            {
                foreach (int count in InputCounts)
                {
                    trial(new PanelGeometry(rows, columns, groupsAreColumns), count);
                    EndCase();
                }
            }
        }
    }

    /// <summary>Runs a case for each length and momentum rule.</summary>
    public void ForEachImportance(Action<ImportanceInputs, int> trial)
    {
        foreach (int length in Lengths)
        {
            foreach (MomentumRule rule in (ReadOnlySpan<MomentumRule>)[MomentumRule.None, MomentumRule.Ema, MomentumRule.Supplied])
            {
                TensorPanel[] inputs = Inputs(2, length, mixed: false, nonFinite: false);
                TensorPanel momentum = Filled(length, DType == DType.F64 ? DType.F64 : DType.F32).Panel;
                trial(new ImportanceInputs(inputs[0], inputs[1], momentum, rule, 0.9), length);
                EndCase();
            }
        }
    }

    /// <summary>Checks that nothing was written outside the panels of a case, and frees them.</summary>
    public void EndCase()
    {
        foreach (GuardedPanel panel in _panels)
            Errors.Exact(panel.IsIntact);
        Dispose();
    }

    public void Dispose()
    {
        _panels.ForEach(panel => panel.Dispose());
        _panels.Clear();
    }

    /// <summary>Creates panels of random numbers.</summary>
    /// <param name="count">The number of panels.</param>
    /// <param name="length">The elements of each.</param>
    /// <param name="mixed">Whether their types differ.</param>
    /// <param name="nonFinite">Whether each has one element that is NaN or infinite.</param>
    public TensorPanel[] Inputs(int count, int length, bool mixed, bool nonFinite)
    {
        Elements += (long)count * length;
        var inputs = new TensorPanel[count];
        for (int k = 0; k < count; k++)
        {
            GuardedPanel panel = Filled(length, mixed ? (DType)(((int)DType + k) % 4) : DType);
            if (nonFinite && length > 0)
                panel[Random.Next(length)] = NonFiniteValues[Random.Next(NonFiniteValues.Length)];
            inputs[k] = panel.Panel;
        }

        return inputs;
    }

    /// <summary>Draws float64 numbers.</summary>
    public double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => Number(DType.F64))];

    /// <summary>Creates a panel of random numbers.</summary>
    public GuardedPanel Filled(int length, DType type = DType.F64)
    {
        GuardedPanel panel = Guarded(type, length);
        for (int i = 0; i < length; i++)
            panel[i] = Number(type);
        return panel;
    }

    /// <summary>
    /// Draws a number of either sign: most are between 2^-6 and 2^6, some zero, some below the type's normal range.
    /// </summary>
    private double Number(DType type)
    {
        double sign = Random.Next(2) == 0 ? 1 : -1;
        return sign * Random.Next(24) switch
        {
            0 => 0,
            1 => Random.NextDouble() * type switch { DType.F64 => 1e-310, DType.F16 => 5e-5, _ => 1e-39 },
            2 => 1,
            _ => (1 + Random.NextDouble()) * Math.ScaleB(1, Random.Next(-6, 6)),
        };
    }

    /// <summary>Creates two equal sets of sums between 0 and 1, as the verbs add to what is there.</summary>
    public GuardedPanel Sums(int count, out GuardedPanel same)
    {
        GuardedPanel sums = Guarded(DType.F64, count);
        same = Guarded(DType.F64, count);
        for (int i = 0; i < count; i++)
            sums[i] = same[i] = Random.NextDouble();
        return sums;
    }

    /// <summary>Creates a panel of NaNs, to be written.</summary>
    public GuardedPanel Guarded(DType type, int length)
    {
        var panel = new GuardedPanel(type, length);
        _panels.Add(panel);
        return panel;
    }
}
