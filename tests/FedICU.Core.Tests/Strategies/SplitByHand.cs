namespace FedICU.Tests;

/// <summary>A tensor of a round in float64, row-major: the global model's values and each client's.</summary>
internal sealed record HandTensor(string Name, long[] Shape, double[] Global, double[][] Clients);

/// <summary>The result of a tensor: s_k (null if it is not split), w_k, and the new values, row-major.</summary>
internal sealed record HandResult(double[]? Scores, double[] Weights, double[] Theta);

/// <summary>
/// FedICU's server written directly from its description: naive loops over float64 matrices. Each cosine is computed
/// from its own pair, and each direction is stored. Nothing of the library is used but its options.
/// </summary>
internal sealed class SplitByHand(FedIcuOptions options, double[] examples)
{
    private readonly int _clients = examples.Length;
    private readonly double[] _shares = [.. examples.Select(count => count / examples.Sum())];

    /// <summary>
    /// Computes a round of a whole model. The options' scores, if any, are asked for the clients' ids.
    /// </summary>
    public HandResult[] Round(string[] ids, params HandTensor[] tensors)
    {
        Split?[] splits = [.. tensors.Select(tensor => tensor.Shape.Length == 0 ? null : new Split(tensor, options))];
        (double[], double[], double)? ofModel =
            options.Granularity == Granularity.Model ? Align([.. splits.OfType<Split>()], ids, null) : null;
        return [.. tensors.Zip(splits, (tensor, split) =>
        {
            if (split is null)
                return new HandResult(null, _shares, [tensor.Clients.Select((client, k) => _shares[k] * client[0]).Sum()]);
            (double[] scores, double[] weights, double rest) = ofModel ?? Align([split], ids, tensor.Name);
            return new HandResult(scores, weights, Inject(split, weights, rest));
        })];
    }

    /// <summary>Computes s_k, w_k, and the previous direction's weight 1 - sum_k w_k.</summary>
    private (double[] Scores, double[] Weights, double Residual) Align(Split[] splits, string[] ids, string? tensor)
    {
        // ||flatten V_k|| of each client, and of the previous direction last
        double[] norms = [.. Enumerable.Range(0, _clients + 1).Select(k => Math.Sqrt(splits.Sum(split => Dot(split.V[k], split.V[k]))))];
        double Cosine(int j, int k) =>
            norms[j] <= options.Epsilon || norms[k] <= options.Epsilon ? 0
                : splits.Sum(split => Dot(split.V[j], split.V[k])) / norms[j] / norms[k];

        double[] scores = new double[_clients];
        bool uniform = false;
        for (int k = 0; k < _clients; k++)
        {
            int[] others = [.. Enumerable.Range(0, _clients).Where(j => j != k)];
            if (options.Scores is { } given)
                scores[k] = given(ids[k], tensor);
            else if (options.Similarity == Similarity.Pairwise)
                scores[k] = _clients == 1 ? 1 : others.Sum(j => Cosine(j, k)) / (_clients - 1);
            else if (options.Similarity == Similarity.PairwiseWithSelf)
                scores[k] = Enumerable.Range(0, _clients).Sum(j => Cosine(j, k)) / _clients;
            else if (options.Similarity == Similarity.MeanDirection)
                scores[k] = CosineToMean(splits, norms, k);
            else
                scores[k] = Cosine(k, _clients);
        }

        if (options.Scores is null && options.Similarity == Similarity.PreviousDirection)
            uniform = norms[_clients] <= options.Epsilon;
        double[] weights = new double[_clients];
        // a cosine of magnitude up to 1e-12 is zero
        scores = [.. scores.Select(score => options.Scores is null && Math.Abs(score) <= 1e-12 ? 0 : score)];
        for (int k = 0; k < _clients; k++)
        {
            double positive = scores.Sum(score => Math.Max(score, 0));
            weights[k] = options.Weights switch
            {
                _ when uniform => 1.0 / _clients,
                WeightRule.Softmax => Math.Exp(scores[k] / options.Tau) / scores.Sum(score => Math.Exp(score / options.Tau)),
                WeightRule.Relu => positive > 0 ? Math.Max(scores[k], 0) / positive : 1.0 / _clients,
                _ => scores[k],
            };
        }

        if (options.TimesShare)
        {
            double[] times = [.. weights.Zip(_shares, (weight, share) => weight * share)];
            weights = [.. times.Select((weight, k) => times.Sum() == 0 ? _shares[k] : weight / times.Sum())];
        }

        bool sumsToOne = uniform || options.TimesShare || options.Weights != WeightRule.Raw;
        return (scores, weights, sumsToOne ? 0 : 1 - weights.Sum());
    }

    /// <summary>Computes cos(v_k, sum_j v_j) from the sum itself.</summary>
    private double CosineToMean(Split[] splits, double[] norms, int k)
    {
        double product = 0, square = 0;
        foreach (Split split in splits)
        {
            for (int r = 0; r < split.Rows; r++)
            {
                for (int c = 0; c < split.Columns; c++)
                {
                    double sum = 0;
                    for (int j = 0; j < _clients; j++)
                        sum += norms[j] <= options.Epsilon ? 0 : split.V[j][r, c] / norms[j];
                    product += norms[k] <= options.Epsilon ? 0 : split.V[k][r, c] / norms[k] * sum;
                    square += sum * sum;
                }
            }
        }

        return square <= 1e-12 ? 0 : product / Math.Sqrt(square);
    }

    /// <summary>Computes M V / ||V|| group by group; if V vanishes, the previous direction stays.</summary>
    private double[] Inject(Split split, double[] weights, double rest)
    {
        bool delta = options.Target == SplitTarget.Delta;
        double[,] v = new double[split.Rows, split.Columns];
        double[] squares = new double[split.Groups], magnitudes = new double[split.Groups];
        for (int g = 0; g < split.Groups; g++)
        {
            for (int k = 0; k < _clients; k++)
                magnitudes[g] += (options.Consensus == ConsensusRule.Uniform ? 1.0 / _clients : _shares[k]) * split.M[k][g];
        }

        for (int r = 0; r < split.Rows; r++)
        {
            for (int c = 0; c < split.Columns; c++)
            {
                v[r, c] = rest * split.V[_clients][r, c];
                for (int k = 0; k < _clients; k++)
                    v[r, c] += weights[k] * split.V[k][r, c];
                squares[split.Group(r, c)] += v[r, c] * v[r, c];
            }
        }

        double[] theta = new double[split.Rows * split.Columns];
        for (int r = 0; r < split.Rows; r++)
        {
            for (int c = 0; c < split.Columns; c++)
            {
                int g = split.Group(r, c);
                double direction = Math.Sqrt(squares[g]) <= options.Epsilon ? split.V[_clients][r, c]
                    : v[r, c] * Math.Pow(Math.Sqrt(squares[g]), options.Coherence - 1);
                theta[r * split.Columns + c] = magnitudes[g] * direction + (delta ? split.Global[r, c] : 0);
            }
        }

        return theta;
    }

    private static double Dot(double[,] a, double[,] b)
    {
        double sum = 0;
        for (int r = 0; r < a.GetLength(0); r++)
        {
            for (int c = 0; c < a.GetLength(1); c++)
                sum += a[r, c] * b[r, c];
        }

        return sum;
    }

    /// <summary>
    /// The magnitudes and directions of each client and, last, of the previous model (zero if updates are split).
    /// </summary>
    private sealed class Split
    {
        private readonly NormAxis _axis;

        public Split(HandTensor tensor, FedIcuOptions options)
        {
            _axis = options.Axis;
            Rows = (int)tensor.Shape[0];
            Columns = Rows == 0 ? 0 : tensor.Global.Length / Rows;
            Groups = _axis switch { NormAxis.Columns => Columns, NormAxis.Rows => Rows, _ => 1 };
            Global = Matrix(tensor.Global);
            bool delta = options.Target == SplitTarget.Delta;
            double[][,] inputs = [.. tensor.Clients.Select(Matrix), delta ? new double[Rows, Columns] : Matrix(tensor.Global)];
            if (delta)
            {
                foreach (double[,] client in inputs[..^1])
                {
                    for (int r = 0; r < Rows; r++)
                    {
                        for (int c = 0; c < Columns; c++)
                            client[r, c] -= Global[r, c];
                    }
                }
            }

            M = [.. inputs.Select(input => Magnitudes(input, options.Epsilon))];
            V = inputs;
            for (int k = 0; k < V.Length; k++)
            {
                for (int r = 0; r < Rows; r++)
                {
                    for (int c = 0; c < Columns; c++)
                        V[k][r, c] = M[k][Group(r, c)] == 0 ? 0 : V[k][r, c] / M[k][Group(r, c)];
                }
            }
        }

        public int Rows { get; }

        public int Columns { get; }

        public int Groups { get; }

        public double[,] Global { get; }

        public double[][] M { get; }

        public double[][,] V { get; }

        public int Group(int r, int c) => _axis switch { NormAxis.Columns => c, NormAxis.Rows => r, _ => 0 };

        private double[,] Matrix(double[] values)
        {
            double[,] matrix = new double[Rows, Columns];
            for (int i = 0; i < values.Length; i++)
                matrix[i / Columns, i % Columns] = values[i];
            return matrix;
        }

        private double[] Magnitudes(double[,] input, double epsilon)
        {
            double[] squares = new double[Groups];
            for (int r = 0; r < Rows; r++)
            {
                for (int c = 0; c < Columns; c++)
                    squares[Group(r, c)] += input[r, c] * input[r, c];
            }

            return [.. squares.Select(square => Math.Sqrt(square) <= epsilon ? 0 : Math.Sqrt(square))];
        }
    }
}
