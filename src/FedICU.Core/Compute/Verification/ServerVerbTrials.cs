namespace FedICU.Compute.Verification;

/// <summary>Compares the verbs of a round with the reference, each on many shapes.</summary>
internal sealed unsafe class ServerVerbTrials(IComputeBackend backend)
{
    private const double Epsilon = TrialErrors.Epsilon;

    private static readonly ReferenceBackend Reference = ReferenceBackend.Instance;

    public void WeightedSum(VerificationTrial trial)
    {
        foreach (int length in trial.Lengths)
        {
            foreach (int count in trial.InputCounts)
            {
                // every other case has non-finite values, and every other one inputs of all types
                TensorPanel[] inputs = trial.Inputs(count, length, mixed: count % 2 == 0, nonFinite: length % 2 == 0);
                double[] weights = trial.Numbers(count);
                GuardedPanel actual = trial.Guarded(trial.DType, length), expected = trial.Guarded(trial.DType, length);
                long found = backend.WeightedSum(inputs, weights, 3.7, length, actual.Panel);
                trial.Errors.Exact(found, Reference.WeightedSum(inputs, weights, 3.7, length, expected.Panel));
                trial.Errors.Exact(actual.Bytes.SequenceEqual(expected.Bytes));
                trial.EndCase();
            }
        }
    }

    public void AddSquares(VerificationTrial trial)
    {
        trial.ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = trial.Inputs(count, geometry.Length, mixed: false, nonFinite: false);
            GuardedPanel actual = trial.Sums(count * geometry.Groups, out GuardedPanel expected);
            backend.AddSquares(inputs, geometry, Values(actual, geometry.Groups));
            Reference.AddSquares(inputs, geometry, Values(expected, geometry.Groups));
            trial.Errors.CompareSums(actual, expected, geometry.Length);
        });
    }

    public void AddGram(VerificationTrial trial)
    {
        trial.ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = trial.Inputs(count, geometry.Length, mixed: count % 2 == 0, nonFinite: false);
            GuardedPanel actual = trial.Sums(GramPairs.Count(count) * geometry.Groups, out GuardedPanel expected);
            backend.AddGram(inputs, geometry, Values(actual, geometry.Groups));
            Reference.AddGram(inputs, geometry, Values(expected, geometry.Groups));
            for (int k = 0; k < count; k++)
            {
                for (int j = 0; j <= k; j++)
                {
                    for (int g = 0; g < geometry.Groups; g++)
                    {
                        // each sum starts between 0 and 1
                        int i = GramPairs.Index(j, k) * geometry.Groups + g;
                        double magnitudes = 1 + SumMagnitudes(inputs[j], inputs[k], geometry, g);
                        trial.Errors.Bounded(actual[i], expected[i], (geometry.Length + 16) * Epsilon * magnitudes);
                    }
                }
            }
        });
    }

    public void AddProjections(VerificationTrial trial)
    {
        trial.ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = trial.Inputs(count, geometry.Length, mixed: false, nonFinite: false);
            GroupValues a = Values(trial.Filled(count * geometry.Groups), geometry.Groups);
            GroupValues b = Values(trial.Filled(count * geometry.Groups), geometry.Groups);
            double[] actual = trial.Numbers(count), expected = [.. actual], start = [.. actual];
            backend.AddProjections(inputs, geometry, a, b, actual);
            Reference.AddProjections(inputs, geometry, a, b, expected);
            for (int k = 0; k < count; k++)
                trial.Errors.Bounded(actual[k], expected[k], Math.Abs(start[k]) * Epsilon + GetProjectionBound(inputs, geometry, a, b, k));
        });
    }

    public void Combine(VerificationTrial trial)
    {
        trial.ForEachShape((geometry, count) =>
        {
            TensorPanel[] inputs = trial.Inputs(count, geometry.Length, mixed: count % 2 == 0, nonFinite: false);
            GroupValues coefficients = Values(trial.Filled(count * geometry.Groups), geometry.Groups);
            double* scales = count % 3 == 0 ? null : Values(trial.Filled(geometry.Groups), geometry.Groups).Data;
            GuardedPanel actual = trial.Guarded(trial.DType, geometry.Length), expected = trial.Guarded(trial.DType, geometry.Length);
            GuardedPanel squares = trial.Sums(geometry.Groups, out GuardedPanel expectedSquares);
            long found = backend.Combine(inputs, geometry, coefficients, scales, actual.Panel, (double*)squares.Panel.Data);
            trial.Errors.Exact(
                found, Reference.Combine(inputs, geometry, coefficients, scales, expected.Panel, (double*)expectedSquares.Panel.Data));
            trial.Errors.CompareElements(actual, expected);
            trial.Errors.CompareSums(squares, expectedSquares, geometry.Length);

            // without one of the two outputs, the other is the same
            GuardedPanel alone = trial.Guarded(trial.DType, geometry.Length);
            GuardedPanel squaresAlone = trial.Sums(geometry.Groups, out GuardedPanel expectedAlone);
            trial.Errors.Exact(backend.Combine(inputs, geometry, coefficients, scales, alone.Panel, null), found);
            trial.Errors.Exact(alone.Bytes.SequenceEqual(actual.Bytes));
            trial.Errors.Exact(backend.Combine(inputs, geometry, coefficients, scales, default, (double*)squaresAlone.Panel.Data), 0);
            Reference.Combine(inputs, geometry, coefficients, scales, default, (double*)expectedAlone.Panel.Data);
            trial.Errors.CompareSums(squaresAlone, expectedAlone, geometry.Length);
        });
    }

    public void MiddleMean(VerificationTrial trial)
    {
        foreach (int length in trial.Lengths)
        {
            foreach (int count in trial.InputCounts)
            {
                for (int trim = 0; 2 * trim < count; trim++)
                {
                    TensorPanel[] inputs = trial.Inputs(count, length, mixed: count % 2 == 0, nonFinite: length % 2 == 0);
                    GuardedPanel actual = trial.Guarded(trial.DType, length), expected = trial.Guarded(trial.DType, length);
                    long found = backend.MiddleMean(inputs, trim, length, actual.Panel);
                    trial.Errors.Exact(found, Reference.MiddleMean(inputs, trim, length, expected.Panel));
                    trial.Errors.Exact(actual.Bytes.SequenceEqual(expected.Bytes));
                    trial.EndCase();
                }
            }
        }
    }

    public void AddPairDistances(VerificationTrial trial)
    {
        foreach (int length in trial.Lengths)
        {
            foreach (int count in trial.InputCounts)
            {
                TensorPanel[] inputs = trial.Inputs(count, length, mixed: count % 2 == 0, nonFinite: false);
                GuardedPanel actual = trial.Sums(count * (count - 1) / 2, out GuardedPanel expected);
                backend.AddPairDistances(inputs, length, Sums(actual));
                Reference.AddPairDistances(inputs, length, Sums(expected));
                trial.Errors.CompareSums(actual, expected, length);
                trial.EndCase();
            }
        }
    }

    public void AddDistances(VerificationTrial trial)
    {
        foreach (int length in trial.Lengths)
        {
            foreach (int count in trial.InputCounts)
            {
                TensorPanel[] inputs = trial.Inputs(count + 2, length, mixed: count % 2 == 0, nonFinite: false);
                TensorPanel origin = count % 3 == 0 ? default : inputs[count], direction = length % 2 == 0 ? default : inputs[count + 1];
                GuardedPanel squares = trial.Sums(count, out GuardedPanel expectedSquares);
                GuardedPanel products = trial.Sums(count, out GuardedPanel expectedProducts);
                double[] ofDirection = new double[1];
                backend.AddDistances(inputs.AsSpan(0, count), origin, direction, length, Sums(squares), Sums(products));
                Reference.AddDistances(inputs.AsSpan(0, count), origin, direction, length, Sums(expectedSquares), Sums(expectedProducts));
                if (direction.Data != null)
                    Reference.AddDistances([direction], origin, default, length, ofDirection, []);
                trial.Errors.CompareSums(squares, expectedSquares, length);
                for (int k = 0; k < count; k++)
                {
                    // each sum starts between 0 and 1; magnitudes are at most the norms' product (Cauchy, Schwarz)
                    double magnitudes = 1 + Math.Sqrt(expectedSquares[k] * ofDirection[0]);
                    trial.Errors.Bounded(products[k], expectedProducts[k], (length + 16) * Epsilon * magnitudes);
                }

                trial.EndCase();
            }
        }
    }

    public void CountNonFinite(VerificationTrial trial)
    {
        foreach (int length in trial.Lengths)
        {
            foreach (bool nonFinite in (ReadOnlySpan<bool>)[false, true])
            {
                TensorPanel input = trial.Inputs(1, length, mixed: false, nonFinite)[0];
                trial.Errors.Exact(backend.CountNonFinite(input, length), Reference.CountNonFinite(input, length));
                trial.EndCase();
            }
        }
    }

    private static Span<double> Sums(GuardedPanel panel) => new(panel.Panel.Data, panel.Length);

    private static GroupValues Values(GuardedPanel panel, int groups) => new((double*)panel.Panel.Data, groups);

    /// <summary>Returns the allowed error of one projection: n * 2^-52 of the sum of magnitudes.</summary>
    private static double GetProjectionBound(TensorPanel[] inputs, PanelGeometry geometry, GroupValues a, GroupValues b, int k)
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

    /// <summary>Sums |x y| over one group.</summary>
    private static double SumMagnitudes(TensorPanel x, TensorPanel y, PanelGeometry geometry, int group)
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
}
