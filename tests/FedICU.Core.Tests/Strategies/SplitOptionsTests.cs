using FedICU.Panels;

namespace FedICU.Tests;

/// <summary>
/// Compares s, w and theta of FedICU's server with <see cref="SplitByHand"/> for the values of all options and their
/// combinations.
/// </summary>
[Parallelizable(ParallelScope.Self)]
internal sealed class SplitOptionsTests
{
    private static readonly (WeightRule Rule, double Tau)[] Weightings =
        [(WeightRule.Softmax, 0.1), (WeightRule.Softmax, 1.5), (WeightRule.Softmax, double.PositiveInfinity), (WeightRule.Relu, 0.1),
            (WeightRule.Raw, 0.1)];

    [Test]
    public void EveryCombinationOfOptionsMatches(
        [Values] Similarity similarity, [Values] NormAxis axis, [Values] SplitTarget target, [Values(1, 2, 3, 5)] int clients)
    {
        HandTensor[] model = SmallModel(clients);
        foreach ((WeightRule rule, double tau) in Weightings)
        {
            foreach (ConsensusRule consensus in Enum.GetValues<ConsensusRule>())
            {
                foreach (bool timesShare in (bool[])[false, true])
                {
                    foreach (Granularity granularity in Enum.GetValues<Granularity>())
                    {
                        Check(
                            new FedIcuOptions
                            {
                                Similarity = similarity,
                                Axis = axis,
                                Target = target,
                                Weights = rule,
                                Tau = tau,
                                Consensus = consensus,
                                TimesShare = timesShare,
                                Granularity = granularity,
                            },
                            model);
                    }
                }
            }
        }
    }

    [Test]
    public void NormsUpToEpsCountAsZero([Values(0, 1e-3, 0.7, 1.9)] double epsilon, [Values] Similarity similarity, [Values] NormAxis axis)
    {
        foreach (SplitTarget target in Enum.GetValues<SplitTarget>())
            Check(new FedIcuOptions { Epsilon = epsilon, Similarity = similarity, Axis = axis, Target = target, Tau = 0.7 }, SmallModel(3));
    }

    [Test]
    public void CoherenceIsHowFarTheDirectionsLengthCounts(
        [Values(0.25, 0.5, 1)] double coherence, [Values] SplitTarget target, [Values] NormAxis axis, [Values(1, 2, 5)] int clients)
    {
        foreach ((WeightRule rule, double tau) in Weightings)
            Check(new FedIcuOptions { Coherence = coherence, Target = target, Axis = axis, Weights = rule, Tau = tau },
                SmallModel(clients));
    }

    [Test]
    public void ScoresOfTheCallerReplaceSimilarities(
        [Values] WeightRule rule, [Values] Granularity granularity, [Values] bool timesShare, [Values] SplitTarget target)
    {
        // the similarity option has no effect
        foreach (Similarity similarity in Enum.GetValues<Similarity>())
        {
            Check(
                new FedIcuOptions
                {
                    Scores = (client, tensor) => client[^1] - '0' + (tensor?.Length ?? 0.25) / 8 - 1,
                    Weights = rule,
                    Granularity = granularity,
                    TimesShare = timesShare,
                    Target = target,
                    Similarity = similarity,
                },
                SmallModel(3));
        }
    }

    [Test]
    public void ColumnsThatCancelKeepThePreviousDirection(
        [Values] NormAxis axis, [Values] SplitTarget target, [Values(2, 4)] int clients, [Values(0, 0.5)] double coherence)
    {
        // tau = inf gives equal weights, so opposite directions cancel; opposite updates leave the global model
        double[] global = Values(1, 12), one = Values(2, 12), other = Values(3, 12);
        double[] Opposite(double[] values, int sign) =>
            [.. values.Select((value, i) => (target == SplitTarget.Delta ? global[i] : 0) + sign * value)];
        double[][] updates = [Opposite(one, 1), Opposite(one, -1), Opposite(other, 1), Opposite(other, -1)];
        double[] theta = Check(
            new FedIcuOptions { Axis = axis, Target = target, Tau = double.PositiveInfinity, Coherence = coherence },
            new HandTensor("w", [4, 3], global, updates[..clients]))[0].Theta;
        if (target == SplitTarget.Delta)
            Assert.That(theta, Is.EqualTo(global).Within(1e-15));
    }

    [Test]
    public void ReluGivesUniformWeightsIfNoScoreIsPositive(
        [Values] SplitTarget target, [Values] Granularity granularity, [Values] bool timesShare)
    {
        double[] zero = new double[6], one = Values(4, 6), two = [.. one.Select(value => -2 * value)];
        HandResult[] results = Check(
            new FedIcuOptions
            {
                Weights = WeightRule.Relu,
                Target = target,
                Granularity = granularity,
                TimesShare = timesShare,
                Axis = NormAxis.Tensor,
            },
            new HandTensor("opposed", [2, 3], zero, [one, two]));
        Assert.That(results[0].Scores, Is.All.LessThan(0));
        Assert.That(results[0].Weights, Is.EqualTo(timesShare ? new[] { 7 / 16.0, 9 / 16.0 } : [0.5, 0.5]));
        Check(new FedIcuOptions { Weights = WeightRule.Relu, Scores = (_, _) => 0, Target = target }, SmallModel(3));
    }

    [Test]
    public void AZeroPreviousDirectionGivesUniformWeights(
        [Values] WeightRule rule, [Values] NormAxis axis, [Values] bool timesShare)
    {
        HandResult result = Check(
            new FedIcuOptions { Similarity = Similarity.PreviousDirection, Weights = rule, Axis = axis, TimesShare = timesShare },
            new HandTensor("lora_B", [4, 3], new double[12], [Values(1, 12), Values(2, 12), Values(3, 12)]))[0];
        Assert.That(result.Scores, Is.All.Zero);
        Assert.That(
            result.Weights, Is.EqualTo(timesShare ? new[] { 7 / 27.0, 9 / 27.0, 11 / 27.0 } : [1 / 3.0, 1 / 3.0, 1 / 3.0]).Within(1e-15));
    }

    [TestCase(0.25)]
    [TestCase(-0.5)]
    [TestCase(1.0 / 3)]
    [TestCase(2)]
    public void RawWeightsLeaveTheRestToThePreviousDirection(double score)
    {
        foreach (SplitTarget target in Enum.GetValues<SplitTarget>())
            Check(new FedIcuOptions { Weights = WeightRule.Raw, Scores = (_, _) => score, Target = target }, SmallModel(3));
    }

    // ---- the Gram pass: large tensors, whose inner products are all computed in one pass

    private static IEnumerable<TestCaseData> LargeCases()
    {
        FedIcuOptions none = new();
        (int Clients, FedIcuOptions Options)[] cases =
        [
            (3, none with { Consensus = ConsensusRule.Share, TimesShare = true }),
            (3, none with { Axis = NormAxis.Rows, Similarity = Similarity.PreviousDirection, Tau = 1 }),
            (3, none with
            {
                Axis = NormAxis.Rows,
                Similarity = Similarity.MeanDirection,
                Weights = WeightRule.Relu,
                Granularity = Granularity.Model,
            }),
            (3, none with { Axis = NormAxis.Tensor, Similarity = Similarity.PairwiseWithSelf }),
            (3, none with { Similarity = Similarity.PreviousDirection, Weights = WeightRule.Raw, Consensus = ConsensusRule.Share }),
            (3, none with { Weights = WeightRule.Raw, TimesShare = true, Axis = NormAxis.Rows }),
            (3, none with { Weights = WeightRule.Raw, Granularity = Granularity.Model }),
            (3, none with { Target = SplitTarget.Delta, Similarity = Similarity.MeanDirection, Tau = double.PositiveInfinity }),
            (3, none with
            {
                Target = SplitTarget.Delta,
                Axis = NormAxis.Rows,
                Weights = WeightRule.Raw,
                Similarity = Similarity.PreviousDirection,
            }),
            (3, none with
            {
                Target = SplitTarget.Delta,
                Axis = NormAxis.Tensor,
                Granularity = Granularity.Model,
                Weights = WeightRule.Relu,
            }),
            (3, none with { Weights = WeightRule.Raw, Scores = (client, _) => (client[^1] - '0') / 4.0 }),
            (2, none with { Weights = WeightRule.Relu }),
            (5, none),
            (5, none with { Target = SplitTarget.Delta, Coherence = 0.5 }),
            (5, none with { Axis = NormAxis.Tensor, Similarity = Similarity.PreviousDirection }),
            (1, none with { Weights = WeightRule.Raw, Scores = (_, _) => 0.5 }),
        ];
        return cases.Select(one => new TestCaseData(one.Options, one.Clients).SetArgDisplayNames(
            $"{one.Clients} clients", $"{one.Options.Axis}", $"{one.Options.Similarity}", $"{one.Options.Weights}", $"{one.Options.Target}",
            $"{one.Options.Granularity}"));
    }

    [TestCaseSource(nameof(LargeCases))]
    public void TheGramPassMatches(FedIcuOptions options, int clients) => Check(options, LargeTensor(clients));

    [Test]
    public void OppositeClientsCancelInTheGramPassToo([Values] NormAxis axis, [Values] bool zeroModel)
    {
        // in the quadratic form all digits cancel
        HandTensor tensor = LargeTensor(2);
        double[] global = zeroModel ? new double[tensor.Global.Length] : tensor.Global, a = tensor.Clients[0];
        double[] theta = Check(
            new FedIcuOptions { Axis = axis }, tensor with { Global = global, Clients = [a, [.. a.Select(value => -value)]] })[0].Theta;
        if (zeroModel)
            Assert.That(theta.AsSpan().ContainsAnyExcept(0.0), Is.False);
    }

    /// <summary>
    /// Returns a tensor that is large enough for the Gram pass. One column and one row are zero in one client, others
    /// in all.
    /// </summary>
    private static HandTensor LargeTensor(int clients)
    {
        const int Columns = 1600;
        int rows = (int)(TensorPasses.GramValues / clients / Columns) + 1;
        Assert.That((long)rows * Columns * clients, Is.GreaterThanOrEqualTo(TensorPasses.GramValues), "large enough for the Gram pass");
        double[] Input(int seed)
        {
            double[] values = Values(seed, rows * Columns);
            for (int i = 0; i < values.Length; i++)
            {
                (int r, int c) = (i / Columns, i % Columns);
                values[i] = c == 900 || r == 700 || seed == 11 && (c == 31 || r == 17) ? 0 : values[i] + 0.5;
            }

            return values;
        }

        return new HandTensor("large", [rows, Columns], Input(10), [.. Enumerable.Range(11, clients).Select(Input)]);
    }

    // ---- a round in the library and by hand

    /// <summary>
    /// Returns a model with tensors of all ranks. "fresh" is zero in the global model, "silent" is zero in the first
    /// client, "thin" has columns of norm below eps or zero, "still" has a column that no client changes, and "spare"
    /// has no elements.
    /// </summary>
    private static HandTensor[] SmallModel(int clients)
    {
        HandTensor Tensor(string name, long[] shape, Func<int, int, double, double>? change = null)
        {
            int length = (int)new TensorShape(shape).ElementCount;
            double[] Input(int input)
            {
                double[] values = Values(100 * name[0] + name.Length + 7 * input, length);
                return change is null ? values : [.. values.Select((value, i) => change(input, i, value))];
            }

            return new HandTensor(name, shape, Input(0), [.. Enumerable.Range(1, clients).Select(Input)]);
        }

        HandTensor still = Tensor("still", [4, 3]);
        return
        [
            Tensor("matrix", [5, 7]), Tensor("vector", [6]), Tensor("conv", [3, 2, 4]), Tensor("scalar", []), Tensor("row", [1, 9]),
            Tensor("fresh", [4, 3], (input, _, value) => input == 0 ? 0 : value),
            Tensor("silent", [3, 4], (input, _, value) => input == 1 ? 0 : value),
            Tensor("thin", [4, 3], (input, i, value) => i % 3 == 0 ? 3e-13 : i % 3 == 1 && input == 1 ? 0 : value),
            still with
            {
                Clients = [.. still.Clients.Select(client => client.Select((value, i) => i % 3 == 0 ? still.Global[i] : value).ToArray())],
            },
            Tensor("spare", [0, 3]),
        ];
    }

    private static double[] Values(int seed, int length)
    {
        var random = new Random(seed);
        double[] values = new double[length];
        for (int i = 0; i < length; i++)
            values[i] = random.NextDouble() * 2 - 1 + seed % 3 * 0.1;
        return values;
    }

    /// <summary>Compares a round in the library with one by hand; client k has 7 + 2k examples.</summary>
    private static HandResult[] Check(FedIcuOptions options, params HandTensor[] tensors)
    {
        int clients = tensors[0].Clients.Length;
        string[] ids = [.. Enumerable.Range(0, clients).Select(k => $"client-{k}")];
        double[] examples = [.. Enumerable.Range(0, clients).Select(k => 7.0 + 2 * k)];
        HandResult[] expected = new SplitByHand(options, examples).Round(ids, tensors);

        MemoryModel Model(Func<HandTensor, double[]> part)
        {
            var model = new MemoryModel();
            foreach (HandTensor tensor in tensors)
                model.Add(tensor.Name, tensor.Shape, part(tensor));
            return model;
        }

        (RoundReport report, MemorySink sink) = Models.Run(
            new FedIcuAggregator(options), Model(tensor => tensor.Global),
            ids.Select((id, k) => ClientUpdate.FromTensors(id, Model(tensor => tensor.Clients[k]), examples[k])),
            new RoundOptions { Threads = 2 });
        using (sink)
        {
            for (int t = 0; t < tensors.Length; t++)
            {
                string what = $"{tensors[t].Name}, {clients} clients, {options}";
                double largest = tensors[t].Clients.Append(tensors[t].Global).Max(values => values.Length == 0 ? 0 : values.Max(Math.Abs));
                // weights beyond 1 come from a sum that nearly cancels; naive sums of millions of values lose some
                // digits
                double weight = Math.Max(1, expected[t].Weights.Max(Math.Abs)),
                    bound = (tensors[t].Global.Length > 1 << 20 ? 1e-10 : 1e-12) * weight * weight;
                AssertClose(sink.Model.ToArray<double>(tensors[t].Name), expected[t].Theta, bound * largest, "theta of " + what);
                if (tensors[t].Global.Length == 0)
                    continue;
                IReadOnlyList<TensorClientReport> parts = report.Tensors[t].Clients;
                AssertClose([.. parts.Select(part => part.Weight!.Value)], expected[t].Weights, bound, "w of " + what);
                if (expected[t].Scores is { } scores)
                    AssertClose([.. parts.Select(part => part.Score!.Value)], scores, bound, "s of " + what);
                else
                    Assert.That(parts.Select(part => part.Score), Is.All.Null, what);
            }
        }

        return expected;
    }

    private static void AssertClose(double[] found, double[] expected, double bound, string what)
    {
        Assert.That(found, Has.Length.EqualTo(expected.Length), what);
        for (int i = 0; i < found.Length; i++)
        {
            if (!(Math.Abs(found[i] - expected[i]) <= bound))
                Assert.Fail($"{what}: {found[i]:R} at {i}, {expected[i]:R} by hand");
        }
    }
}
