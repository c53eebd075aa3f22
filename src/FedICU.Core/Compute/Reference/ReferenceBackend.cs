using FedICU.Compute.Reference;

namespace FedICU.Compute;

/// <summary>
/// Computes the verbs in scalar float64 loops, which are slow and simple: it defines what they mean.
/// <see cref="WeightedSum"/> and all values of single elements have the bits that every backend must have. Sums over
/// elements are more precise than those of other backends, which are compared with them within a bound.
/// </summary>
public sealed unsafe partial class ReferenceBackend : IClientBackend
{
    /// <summary>Gets a shared instance; the backend has no state.</summary>
    public static ReferenceBackend Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "reference";

    /// <inheritdoc/>
    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        ScalarMath.CheckInputs(inputs.Length, weights.Length);
        double scale = SumScale.Of(inputs, weights, divisor);
        long nonFinite = 0;
        for (int i = 0; i < length; i++)
        {
            double mean = SumScale.Element(inputs, weights, divisor, 1, i);
            if (!double.IsFinite(mean) && scale != 1)
                mean = SumScale.Element(inputs, weights, divisor, scale, i);
            nonFinite += Put(output, i, mean);
        }

        return nonFinite;
    }

    /// <inheritdoc/>
    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        for (int k = 0; k < inputs.Length; k++)
        {
            for (int group = 0; group < geometry.Groups; group++)
            {
                var sum = new PreciseSum();
                foreach (long i in Elements(geometry, group))
                    sum.AddProduct(At(inputs[k], i), At(inputs[k], i));
                sums.Row(k)[group] += sum.Value;
            }
        }
    }

    /// <inheritdoc/>
    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        for (int k = 0; k < inputs.Length; k++)
        {
            for (int j = 0; j <= k; j++)
            {
                for (int group = 0; group < geometry.Groups; group++)
                {
                    var sum = new PreciseSum();
                    foreach (long i in Elements(geometry, group))
                        sum.AddProduct(At(inputs[j], i), At(inputs[k], i));
                    grams.Row(GramPairs.Index(j, k))[group] += sum.Value;
                }
            }
        }
    }

    /// <inheritdoc/>
    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        ScalarMath.CheckSums(inputs.Length, dots.Length);
        var sums = new PreciseSum[inputs.Length];
        for (int group = 0; group < geometry.Groups; group++)
        {
            foreach (long i in Elements(geometry, group))
            {
                double combination = Combination(inputs, b, group, i);
                for (int k = 0; k < inputs.Length; k++)
                    sums[k].AddProduct(a.Row(k)[group], At(inputs[k], i) * combination);
            }
        }

        for (int k = 0; k < inputs.Length; k++)
            dots[k] += sums[k].Value;
    }

    /// <inheritdoc/>
    public long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
        double* squares)
    {
        ScalarMath.CheckInputs(inputs.Length, inputs.Length);
        long nonFinite = 0;
        var groupSquares = new PreciseSum[squares == null ? 0 : geometry.Groups];
        for (int row = 0; row < geometry.Rows; row++)
        {
            for (int column = 0; column < geometry.Columns; column++)
            {
                int group = geometry.GroupsAreColumns ? column : row;
                long i = (long)row * geometry.Columns + column;
                double y = Combination(inputs, coefficients, group, i);
                if (output.Data != null)
                    nonFinite += Put(output, i, scales == null ? y : scales[group] * y);
                if (squares != null)
                    groupSquares[group].AddProduct(y, y);
            }
        }

        for (int group = 0; group < groupSquares.Length; group++)
            squares[group] += groupSquares[group].Value;
        return nonFinite;
    }

    /// <inheritdoc/>
    public long CountNonFinite(TensorPanel input, int length)
    {
        long nonFinite = 0;
        for (int i = 0; i < length; i++)
            nonFinite += double.IsFinite(At(input, i)) ? 0 : 1;
        return nonFinite;
    }

    /// <inheritdoc/>
    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        if (length == 0)
            return;
        var updates = new double[length];
        var globals = new double[length];
        for (int i = 0; i < length; i++)
        {
            updates[i] = Math.Abs(Update(inputs, i));
            globals[i] = Math.Abs(At(inputs.Global, i));
        }

        Merge(updates, ref update);
        Merge(globals, ref global);
    }

    private static void Merge(double[] magnitudes, ref MagnitudeMoments moments)
    {
        var sum = new PreciseSum();
        foreach (double magnitude in magnitudes)
            sum.Add(magnitude);
        double mean = sum.Value / magnitudes.Length, minimum = double.PositiveInfinity, maximum = 0;
        var deviations = new PreciseSum();
        foreach (double magnitude in magnitudes)
        {
            deviations.AddProduct(magnitude - mean, magnitude - mean);
            minimum = Math.Min(minimum, magnitude);
            maximum = Math.Max(maximum, magnitude);
        }

        moments.Merge(magnitudes.Length, mean, deviations.Value, minimum, maximum);
    }

    /// <inheritdoc/>
    public long SelectImportant(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        if (mask != null)
            new Span<byte>(mask, (length + 7) / 8).Clear();
        long selected = 0;
        for (int i = 0; i < length; i++)
        {
            double u = Update(inputs, i), g = At(inputs.Global, i);
            if (momentum.Data != null)
                Rounding.Write(momentum.Data, momentum.DType, i, u);
            if (!IsImportant(u, g, update, global))
                continue;
            selected++;
            if (mask != null)
                mask[i / 8] |= (byte)(1 << i % 8);
        }

        return selected;
    }

    private static bool IsImportant(double u, double g, ImportanceScale update, ImportanceScale global)
    {
        // equal magnitudes say nothing about importance: all elements are sent, unless they are 0
        if (update.Spread == 0)
            return Math.Abs(u) > 0;
        if (global.Spread == 0)
            return true;
        double zu = (Math.Abs(u) - update.Center) / update.Spread;
        double zg = (Math.Abs(g) - global.Center) / global.Spread;
        return zu - zg > ScalarMath.Tie * (1 + Math.Abs(zg));
    }

    /// <inheritdoc/>
    public void Importance(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance,
        double* globalImportance)
    {
        for (int i = 0; i < length; i++)
        {
            if (updateImportance != null)
                updateImportance[i] = Importance(Update(inputs, i), update, sigmoid);
            if (globalImportance != null)
                globalImportance[i] = Importance(At(inputs.Global, i), global, sigmoid);
        }
    }

    private static double Importance(double x, ImportanceScale scale, bool sigmoid)
    {
        if (scale.Spread == 0)
            return 0;
        double z = (Math.Abs(x) - scale.Center) / scale.Spread;
        return sigmoid ? ScalarMath.Sigmoid(z) : z;
    }

    /// <inheritdoc/>
    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        var sum = new PreciseSum();
        for (int i = 0; i < length; i++)
        {
            double d = At(local, i) - At(global, i);
            sum.AddProduct(d, d);
            if (gradient.Data != null)
                Put(gradient, i, Math.FusedMultiplyAdd(mu, d, At(gradient, i)));
        }

        return sum.Value;
    }

    /// <inheritdoc/>
    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        int size = source.DType.BitSize / 8;
        long count = 0;
        for (int i = 0; i < length; i++)
        {
            if ((mask[i / 8] >> i % 8 & 1) == 0)
                continue;
            var element = new ReadOnlySpan<byte>((byte*)source.Data + (long)i * size, size);
            element.CopyTo(new Span<byte>((byte*)packed + count++ * size, size));
        }

        return count;
    }

    private static double At(TensorPanel panel, long i) => Rounding.Read(panel.Data, panel.DType, i);

    /// <summary>Writes an element; returns 1 if the written value is not finite, otherwise 0.</summary>
    private static int Put(TensorPanel panel, long i, double value)
    {
        Rounding.Write(panel.Data, panel.DType, i, value);
        return double.IsFinite(At(panel, i)) ? 0 : 1;
    }

    /// <summary>Computes the sum over k of c[k, group] * x_k[i]: the first product plain, then fused.</summary>
    private static double Combination(ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, int group, long i)
    {
        double sum = coefficients.Row(0)[group] * At(inputs[0], i);
        for (int k = 1; k < inputs.Length; k++)
            sum = Math.FusedMultiplyAdd(coefficients.Row(k)[group], At(inputs[k], i), sum);
        return sum;
    }

    private static double Update(in ImportanceInputs inputs, long i) => inputs.Rule switch
    {
        MomentumRule.Supplied => At(inputs.Momentum, i),
        MomentumRule.None => At(inputs.Local, i) - At(inputs.Global, i),
        MomentumRule.Ema => Math.FusedMultiplyAdd(
            inputs.Beta, At(inputs.Momentum, i), (1 - inputs.Beta) * (At(inputs.Local, i) - At(inputs.Global, i))),
        _ => throw new ArgumentOutOfRangeException(nameof(inputs), inputs.Rule, "no such rule"),
    };

    /// <summary>Returns the flat indices of a group, in ascending order.</summary>
    private static IEnumerable<long> Elements(PanelGeometry geometry, int group)
    {
        int count = geometry.GroupsAreColumns ? geometry.Rows : geometry.Columns;
        for (int j = 0; j < count; j++)
            yield return geometry.GroupsAreColumns ? (long)j * geometry.Columns + group : (long)group * geometry.Columns + j;
    }
}
