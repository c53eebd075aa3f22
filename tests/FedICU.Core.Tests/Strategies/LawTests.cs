using CsCheck;
using FedICU.Compute;

namespace FedICU.Tests;

/// <summary>The laws of docs/algorithms.md as properties of random rounds.</summary>
internal sealed class LawTests
{
    // multiples of 1/64: zeros are frequent, and no column's norm is near eps, where scaling changes the result
    private static readonly Gen<double> Value = Gen.Int[-256, 256].Select(value => value / 64.0);

    /// <summary>A random round: rows, columns, the global matrix and a matrix for each client, in float64.</summary>
    private static readonly Gen<(long Rows, long Columns, double[] Global, double[][] Clients, double[] Weights)> Round =
        from rows in Gen.Long[1, 9]
        from columns in Gen.Long[1, 12]
        from clients in Gen.Int[1, 6]
        from global in Value.Array[(int)(rows * columns)]
        from locals in Value.Array[(int)(rows * columns)].Array[clients]
        from weights in Gen.Int[1, 2000].Select(weight => (double)weight).Array[clients]
        select (rows, columns, global, locals, weights);

    private static readonly Gen<double> Scale =
        Gen.Int[0, 4].Select(i => new[] { 0.125, 3, 1000, Math.ScaleB(1, 600), Math.ScaleB(1, 1018) }[i]);

    private static readonly Lazy<MemoryModel[]> LargeModels =
        new(() => [.. Enumerable.Range(1, 8).Select(seed => Models.Random(seed, large: true))]);

    private static IEnumerable<IAggregator> Aggregators() =>
    [
        new FedAvgAggregator(),
        new FedProxAggregator(),
        new FedIcuAggregator(),
        new FedIcuAggregator(new FedIcuOptions { Axis = NormAxis.Rows, Similarity = Similarity.MeanDirection }),
        new FedIcuAggregator(
            new FedIcuOptions { Axis = NormAxis.Tensor, Similarity = Similarity.PairwiseWithSelf, Weights = WeightRule.Relu }),
        new FedIcuAggregator(
            new FedIcuOptions { Similarity = Similarity.PreviousDirection, Consensus = ConsensusRule.Share, TimesShare = true }),
        new FedIcuAggregator(new FedIcuOptions { Granularity = Granularity.Model, Target = SplitTarget.Delta }),
        new FedIcuAggregator(new FedIcuOptions { Target = SplitTarget.Delta, Coherence = 0.5 }),
        new FedIcuAggregator(new FedIcuOptions { Granularity = Granularity.Model, Tau = double.PositiveInfinity }),
    ];

    [TestCaseSource(nameof(Aggregators))]
    public void OneClientComesBack(IAggregator aggregator) => Round.Sample(round =>
    {
        double[] client = round.Clients[0];
        AssertClose(Run(aggregator, round.Rows, round.Columns, round.Global, [client], [round.Weights[0]]), client);
    }, iter: 60);

    [TestCaseSource(nameof(Aggregators))]
    public void IdenticalClientsComeBack(IAggregator aggregator) => Round.Sample(round =>
    {
        double[] client = round.Clients[0];
        AssertClose(
            Run(aggregator, round.Rows, round.Columns, round.Global, [.. round.Clients.Select(_ => client)], round.Weights), client);
    }, iter: 60);

    [TestCaseSource(nameof(Aggregators))]
    public void ScalingEveryInputScalesTheOutput(IAggregator aggregator) => Gen.Select(Round, Scale).Sample((round, a) =>
    {
        double[] Scaled(double[] values) => [.. values.Select(value => a * value)];
        double[] plain = Run(aggregator, round.Rows, round.Columns, round.Global, round.Clients, round.Weights);
        double[] scaled =
            Run(aggregator, round.Rows, round.Columns, Scaled(round.Global), [.. round.Clients.Select(Scaled)], round.Weights);
        AssertClose(scaled, Scaled(plain), 1e-9);
    }, iter: 60);

    [TestCaseSource(nameof(Aggregators))]
    public void OrderOfClientsAndNumberOfThreadsChangeNoBit(IAggregator aggregator)
    {
        ClientUpdate[] updates =
            [.. LargeModels.Value.Skip(1).Select((model, k) => ClientUpdate.FromTensors($"client-{k}", model, 10 + k))];
        byte[]? expected = null;
        foreach ((int threads, int shuffle) in new[] { (1, 0), (2, 1), (7, 2) })
        {
            ClientUpdate[] shuffled = [.. updates];
            new Random(shuffle).Shuffle(shuffled);
            (_, MemorySink sink) = Models.Run(aggregator, LargeModels.Value[0], shuffled, new RoundOptions { Threads = threads });
            using (sink)
                Assert.That(Models.AllBytes(sink.Model).AsSpan().SequenceEqual(expected ??= Models.AllBytes(sink.Model)),
                    $"{threads} threads, order {shuffle}");
        }
    }

    [TestCaseSource(nameof(Aggregators))]
    public void BackendsAgree(IAggregator aggregator)
    {
        foreach (DType dtype in new[] { DType.F64, DType.F32, DType.F16, DType.BF16 })
        {
            using MemoryModel global = Models.Random(1, dtype);
            ClientUpdate[] updates =
                [.. Enumerable.Range(0, 5).Select(k => ClientUpdate.FromTensors($"client-{k}", Models.Random(k + 2, dtype), 10 + k))];
            (_, MemorySink simd) =
                Models.Run(aggregator, global, updates, new RoundOptions { Backend = new SimdBackend(), OutputDType = DType.F64 });
            (_, MemorySink reference) =
                Models.Run(aggregator, global, updates, new RoundOptions { Backend = new ReferenceBackend(), OutputDType = DType.F64 });
            using (simd)
            using (reference)
            {
                if (aggregator is not FedIcuAggregator)
                    Assert.That(Models.AllBytes(simd.Model), Is.EqualTo(Models.AllBytes(reference.Model)));
                foreach (TensorInfo tensor in simd.Model.Tensors)
                    AssertClose(Models.ToDoubles(simd.Model, tensor.Name), Models.ToDoubles(reference.Model, tensor.Name),
                        64 * Math.ScaleB(1, -53));
            }
        }
    }

    [Test]
    public void InfiniteTauGivesUniformWeights() => Round.Sample(round =>
    {
        (RoundReport report, MemorySink sink) = Models.Run(
            new FedIcuAggregator(new FedIcuOptions { Tau = double.PositiveInfinity }),
            Models.Of64("w", [round.Rows, round.Columns], round.Global),
            Updates(round.Rows, round.Columns, round.Clients, round.Weights));
        sink.Dispose();
        foreach (TensorClientReport client in report.Tensors[0].Clients)
            Assert.That(client.Weight, Is.EqualTo(1.0 / round.Clients.Length).Within(1e-15));
    }, iter: 60);

    [Test]
    public void AClientThatSendsTheGlobalModelStillCounts()
    {
        // uniform consensus: the magnitude is pulled halfway to the global model's
        double[] result = Run(new FedIcuAggregator(), 2, 1, [3, 4], [[3, 4], [6, 8]], [1, 1]);
        AssertClose(result, [4.5, 6]);
    }

    [Test]
    public void OppositeClientsOverAZeroModelCancelToZeroAndOverAnotherKeepItsDirection()
    {
        // opposite directions of equal weights cancel: the previous direction stays, if there is one
        AssertClose(Run(new FedIcuAggregator(), 2, 1, [0, 0], [[3, 4], [-3, -4]], [1, 1]), [0, 0]);
        AssertClose(Run(new FedIcuAggregator(), 2, 1, [0, 2], [[3, 4], [-3, -4]], [1, 1]), [0, 5]);
    }

    [Test]
    public void AlmostOppositeClientsKeepTheirDigits()
    {
        double[] a = [3, 4], b = [-3, -4 + 1e-7];
        (RoundReport report, MemorySink sink) =
            Models.Run(new FedIcuAggregator(), Models.Of64("w", [2, 1], 0, 0), Updates(2, 1, [a, b], [1, 1]));
        using (sink)
        {
            // the direct combination V = (a/|a| + b/|b|) / 2, in decimal by hand
            decimal lengthB = Root(9m + (4m - 1e-7m) * (4m - 1e-7m));
            decimal v0 = 3m / 5m - 3m / lengthB, v1 = 4m / 5m + (-4m + 1e-7m) / lengthB, norm = Root(v0 * v0 + v1 * v1);
            double magnitude = (5 + (double)lengthB) / 2;
            Assert.That(report.Tensors[0].Clients.Select(client => client.Weight), Is.All.EqualTo(0.5).Within(1e-14));
            AssertClose(sink.Model.ToArray<double>("w"), [magnitude * (double)(v0 / norm), magnitude * (double)(v1 / norm)], 1e-6);
        }

        static decimal Root(decimal value)
        {
            decimal root = (decimal)Math.Sqrt((double)value);
            for (int i = 0; i < 4; i++)
                root = (root + value / root) / 2;
            return root;
        }
    }

    [Test]
    public void RawWeightsLeaveTheRestToThePreviousDirection()
    {
        // scores of 1/4 each sum to 1/2: half of the previous direction stays
        var options = new FedIcuOptions { Weights = WeightRule.Raw, Scores = (_, _) => 0.25 };
        double[] result = Run(new FedIcuAggregator(options), 2, 1, [0, 1], [[1, 0], [1, 0]], [1, 1]);
        AssertClose(result, [Math.Sqrt(0.5), Math.Sqrt(0.5)]);
    }

    [Test]
    public void ScoresOfTheCallerReplaceSimilarities()
    {
        var seen = new List<string>();
        var options = new FedIcuOptions
        {
            Weights = WeightRule.Relu,
            Scores = (client, tensor) =>
            {
                seen.Add($"{client}:{tensor}");
                return client == "client-0" ? 1 : 0;
            },
        };
        AssertClose(Run(new FedIcuAggregator(options), 2, 1, [0, 1], [[1, 0], [0, 1]], [1, 1]), [1, 0]);
        Assert.That(seen, Is.EqualTo(new[] { "client-0:w", "client-1:w" }));
        Assert.That(
            () => Run(new FedIcuAggregator(options with { Scores = (_, _) => double.NaN }), 2, 1, [0, 1], [[1, 0], [0, 1]], [1, 1]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'client-0'").And.Message.Contains("NaN"));
    }

    [Test]
    public void GranularityOfTheModelSharesOneSetOfWeights()
    {
        var global = new MemoryModel { { "a", [2, 1], new double[] { 1, 0 } }, { "b", [1, 2], new double[] { 1, 1 } } };
        ClientUpdate[] updates =
        [
            ClientUpdate.FromTensors(
                "x", new MemoryModel { { "a", [2, 1], new double[] { 1, 0 } }, { "b", [1, 2], new double[] { 2, 2 } } }),
            ClientUpdate.FromTensors(
                "y", new MemoryModel { { "a", [2, 1], new double[] { 0, 1 } }, { "b", [1, 2], new double[] { 2, -2 } } }),
            ClientUpdate.FromTensors(
                "z", new MemoryModel { { "a", [2, 1], new double[] { 1, 1 } }, { "b", [1, 2], new double[] { 2, 2 } } }),
        ];
        (RoundReport report, MemorySink sink) =
            Models.Run(new FedIcuAggregator(new FedIcuOptions { Granularity = Granularity.Model }), global, updates);
        sink.Dispose();
        // three columns of norm one: ||flatten V||^2 = 3; products by hand: x.y = 0 + 1 - 1, x.z = r + 1 + 1, y.z = r +
        // 1 - 1, r = sqrt(1/2)
        double r = Math.Sqrt(0.5), xy = 0, xz = (r + 2) / 3, yz = r / 3;
        double[] scores = [(xy + xz) / 2, (xy + yz) / 2, (xz + yz) / 2];
        foreach (TensorReport tensor in report.Tensors)
            Assert.That(tensor.Clients.Select(client => client.Score!.Value), Is.EqualTo(scores).Within(1e-14), tensor.Name);
    }

    private static double[] Run(IAggregator aggregator, long rows, long columns, double[] global, double[][] clients, double[] weights)
    {
        (_, MemorySink sink) = Models.Run(aggregator, Models.Of64("w", [rows, columns], global), Updates(rows, columns, clients, weights));
        using (sink)
            return sink.Model.ToArray<double>("w");
    }

    private static IEnumerable<ClientUpdate> Updates(long rows, long columns, double[][] clients, double[] weights) =>
        clients.Select((client, k) => ClientUpdate.FromTensors($"client-{k}", Models.Of64("w", [rows, columns], client), weights[k]));

    private static void AssertClose(double[] found, double[] expected, double share = 1e-12)
    {
        double bound = share * expected.DefaultIfEmpty(0).Max(Math.Abs);
        for (int i = 0; i < expected.Length; i++)
            Assert.That(found[i], Is.EqualTo(expected[i]).Within(bound), $"element {i}");
    }
}
