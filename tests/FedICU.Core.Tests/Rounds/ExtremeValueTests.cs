using CsCheck;
using FedICU.Compute;

namespace FedICU.Tests.Rounds;

/// <summary>
/// Finite values whose sums or squares overflow float64. A result that fits is computed; any other is refused with a
/// correct sentence.
/// </summary>
internal sealed unsafe class ExtremeValueTests
{
    private const double Most = double.MaxValue;

    [Test]
    public void AMeanOfTheLowestFloat64IsExact([Values(1, 3)] double weight)
    {
        // such values are biases of attention masks in float64 models
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("a", Models.Of64("masked_bias", [2], -Most, 2), weight),
            ClientUpdate.FromTensors("b", Models.Of64("masked_bias", [2], -Most, 4), 5),
        ];
        Assert.That(Run(new FedAvgAggregator(), Models.Of64("masked_bias", [2], -Most, 1), clients),
            Is.EqualTo(new[] { -Most, (2 * weight + 20) / (weight + 5) }));
    }

    [Test]
    public void AMeanThatFitsIsCorrectAlsoIfItsSumOverflows() =>
        Gen.Select(Gen.Int, Gen.Int[1, 6], Gen.Int[1, 40]).Sample((seed, count, length) =>
    {
        var random = new Random(seed);
        double[][] inputs = [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, length).Select(_ => Number(random)).ToArray())];
        double[] weights = [.. inputs.Select(_ => (double)random.Next(1, 5000))];
        double divisor = weights.Sum();
        foreach (IComputeBackend backend in (IComputeBackend[])[new SimdBackend(), ReferenceBackend.Instance])
        {
            double[] made = WeightedSum(backend, inputs, weights, divisor, inPlace: false);
            Assert.That(WeightedSum(backend, inputs, weights, divisor, inPlace: true), Is.EqualTo(made));
            for (int i = 0; i < length; i++)
            {
                double plain = weights[0] * inputs[0][i], quarters = 0;
                for (int k = 1; k < count; k++)
                    plain = Math.FusedMultiplyAdd(weights[k], inputs[k][i], plain);
                for (int k = 0; k < count; k++)
                    quarters += weights[k] / divisor * (inputs[k][i] / 4);
                if (double.IsFinite(plain))
                    Assert.That(BitConverter.DoubleToInt64Bits(made[i]), Is.EqualTo(BitConverter.DoubleToInt64Bits(plain / divisor)),
                        backend.Name);
                else
                    Assert.That(made[i] / 4, Is.EqualTo(quarters).Within(Most * 1e-15), backend.Name);
            }
        }
    }, iter: 300, threads: 1);

    [Test]
    public void WeightsOfAnyMagnitudeGiveTheSameMean([Values(1e-310, 1e-200, 1, 1e290, 1e307)] double unit)
    {
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("a", Models.Of64("w", [3], 1, 1e-9, 1e300), unit),
            ClientUpdate.FromTensors("b", Models.Of64("w", [3], 5, 5e-9, 5e300), 3 * unit),
        ];
        var options = new RoundOptions { MaxWeight = Most };
        foreach (IAggregator aggregator in (IAggregator[])[new FedAvgAggregator(),
            new FedIcuAggregator(new FedIcuOptions { Consensus = ConsensusRule.Share })])
            Assert.That(Run(aggregator, Models.Of64("w", [3], 0, 0, 0), clients, options)
                .Select((value, i) => value / new[] { 4, 4e-9, 4e300 }[i]), Is.All.EqualTo(1).Within(1e-12));
    }

    [Test]
    public void FedIcuReturnsEqualClientsUnchanged(
        [Values] NormAxis axis, [Values(Most, 1e200, 1e153)] double value, [Values] SplitTarget target)
    {
        double[] values = [-value, value, value / 2, 1, 0, -value];
        MemoryModel client = Models.Of64("w", [3, 2], values);
        double[] made = Run(new FedIcuAggregator(new FedIcuOptions { Axis = axis, Target = target }),
            Models.Of64("w", [3, 2], 0, 0, 0, 1, 1, 0),
            [ClientUpdate.FromTensors("a", client, 1), ClientUpdate.FromTensors("b", client, 2)]);
        for (int i = 0; i < values.Length; i++)
            Assert.That(made[i], Is.EqualTo(values[i]).Within(64 * Math.ScaleB(1, -53) * value), $"element {i}");
    }

    [Test]
    public void AColumnsMagnitudeDoesNotChangeTheOthers()
    {
        // directions do not change, and neither do the weights that are computed from them
        double[] Made(double first)
        {
            ClientUpdate[] clients =
            [
                ClientUpdate.FromTensors("a", Models.Of64("w", [2, 2], 2 * first, 1, first, -3)),
                ClientUpdate.FromTensors("b", Models.Of64("w", [2, 2], first, 2, -first, 1)),
                ClientUpdate.FromTensors("c", Models.Of64("w", [2, 2], 3 * first, 0.5, first, 2)),
            ];
            double[] made = Run(new FedIcuAggregator(), Models.Of64("w", [2, 2], first, 1, first, 1), clients);
            return [made[0] / first, made[1], made[2] / first, made[3]];
        }

        Assert.That(Made(Math.ScaleB(1, 600)), Is.EqualTo(Made(1)).Within(1e-12));
        Assert.That(Made(Math.ScaleB(1, 1022)), Is.EqualTo(Made(1)).Within(1e-12), "a norm overflows float64");
    }

    [Test]
    public void StatisticsScaleWithTheValues([Values(1e200, 1e300)] double unit)
    {
        RoundReport Report(double unit)
        {
            ClientUpdate[] clients =
            [
                ClientUpdate.FromTensors("a", Models.Of64("w", [3], unit, 2 * unit, 0), 1),
                ClientUpdate.FromTensors("b", Models.Of64("w", [3], -unit, unit, unit), 2),
            ];
            RoundReport report = Models.RunForReport(new FedAvgAggregator(), Models.Of64("w", [3], 0, unit, 0), clients,
                new RoundOptions { Statistics = true });
            return report;
        }

        foreach ((TensorClientReport large, TensorClientReport small) in Report(unit).Tensors[0].Clients.Zip(Report(1).Tensors[0].Clients))
        {
            Assert.That(large.Norm / unit, Is.EqualTo(small.Norm).Within(1e-14));
            Assert.That(large.UpdateNorm / unit, Is.EqualTo(small.UpdateNorm).Within(1e-14));
            Assert.That(large.Cosine, Is.EqualTo(small.Cosine).Within(1e-14));
        }
    }

    [Test]
    public void ACrossTermDoesNotDependOnTheFactorsMagnitudes([Values(1e-90, 1e100, 1e200)] double unit)
    {
        double CrossTerm(double unit)
        {
            MemoryModel Adapter(double shift) => new()
            {
                { "m.lora_A.weight", [1, 3], new[] { unit, 2 * unit, unit * shift } },
                    { "m.lora_B.weight", [2, 1], new[] { unit * shift, unit } },
            };
            RoundReport report = Models.RunForReport(new FedAvgAggregator(), Adapter(1),
                [ClientUpdate.FromTensors("a", Adapter(2)), ClientUpdate.FromTensors("b", Adapter(-3))],
                new RoundOptions { Statistics = true });
            return report.LoraPairs.Single().CrossTerm;
        }

        Assert.That(CrossTerm(1), Is.GreaterThan(0.1));
        Assert.That(CrossTerm(unit), Is.EqualTo(CrossTerm(1)).Within(1e-12));
    }

    [Test]
    public void AnErrorDescribesWhatDoesNotFit()
    {
        MemoryModel global = Models.Of64("w", [2], Most, 1);
        var far = new ClientUpdate[] { ClientUpdate.FromTensors("a", Models.Of64("w", [2], -Most, 1)) };
        Assert.That(() => Run(new FedIcuAggregator(new FedIcuOptions { Target = SplitTarget.Delta }), global, far),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                "Tensor 'w': an input, or its difference to the global model, is too large for F64."));
        ClientUpdate[] out64 = [ClientUpdate.FromTensors("a", Models.Of64("w", [2], Most, 1), kind: UpdateKind.Delta)];
        Assert.That(() => Run(new FedAvgAggregator(), global, out64), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
            "Client 'a': tensor 'w' is a delta that, added to the global model, has 1 value that is NaN or infinite; finite values were " +
                "expected."));
        ClientUpdate[] narrow = [ClientUpdate.FromTensors("a", Models.Of64("w", [2], Most, 1))];
        Assert.That(() => Run(new FedAvgAggregator(), global, narrow, new RoundOptions { OutputDType = DType.F32 }),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                "Client 'a': tensor 'w' has 1 value too large for F32; values that fit the output's type were expected."));
    }

    private static double Number(Random random) => random.Next(4) switch
    {
        0 => Most * (random.Next(2) * 2 - 1),
        1 => Math.ScaleB(random.NextDouble() - 0.5, 1024),
        2 => random.NextDouble() - 0.5,
        _ => Math.ScaleB(random.NextDouble() - 0.5, random.Next(-1074, 1024)),
    };

    private static double[] WeightedSum(IComputeBackend backend, double[][] inputs, double[] weights, double divisor, bool inPlace)
    {
        int length = inputs[0].Length;
        double[] all = [.. inputs.SelectMany(input => input)], made = new double[length];
        fixed (double* first = all, output = made)
        {
            var panels = new TensorPanel[inputs.Length];
            for (int k = 0; k < panels.Length; k++)
                panels[k] = new TensorPanel(first + k * length, DType.F64);
            Assert.That(backend.WeightedSum(panels, weights, divisor, length, inPlace ? panels[^1] : new TensorPanel(output, DType.F64)),
                Is.Zero);
        }

        return inPlace ? all[^length..] : made;
    }

    private static double[] Run(
        IAggregator aggregator, TensorSource global, IEnumerable<ClientUpdate> clients, RoundOptions? options = null)
    {
        (_, MemorySink sink) = Models.Run(aggregator, global, clients, options);
        using (sink)
            return Models.ToDoubles(sink.Model, global.Tensors[0].Name);
    }
}
