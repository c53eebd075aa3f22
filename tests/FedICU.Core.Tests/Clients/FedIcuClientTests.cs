using System.Buffers;
using FedICU.Clients;
using FedICU.Compute;
using FedICU.Tests.Files;
using FedICU.Text;

namespace FedICU.Tests;

/// <summary>The client's masks, momentum and uploads beyond the known answers.</summary>
[Parallelizable(ParallelScope.Self)]
internal sealed class FedIcuClientTests
{
    private static readonly MemoryModel Global = Models.Random(1, large: true);
    private static readonly MemoryModel Local = Models.Random(2, large: true);

    private static readonly FedIcuClientOptions[] Variants =
    [
        new(),
        new() { Mask = MaskRule.Soft },
        new() { Mask = MaskRule.TopRatio, TopRatio = 0.1 },
        new() { Mask = MaskRule.GaussianNoise, Sigma = 0.1, Seed = 7 },
        new() { Importance = ImportanceRule.MinMax },
        new() { Importance = ImportanceRule.MinMax, Mask = MaskRule.Soft },
        new() { Importance = ImportanceRule.Rank },
        new() { Importance = ImportanceRule.Rank, Mask = MaskRule.Soft },
        new() { Fill = MaskFill.Zero },
        new() { ImportanceFunction = (_, magnitudes, importances) => magnitudes.CopyTo(importances) },
    ];

    [TestCaseSource(nameof(Variants))]
    public void UnpackedEqualsDenseForAnyNumberOfThreadsAndBackend(FedIcuClientOptions options)
    {
        byte[]? expected = null;
        (int Threads, IClientBackend Backend)[] cases = [(1, new SimdBackend()), (7, new SimdBackend()), (2, new ReferenceBackend())];
        foreach ((int threads, IClientBackend backend) in cases)
        {
            using var dense = new MemorySink();
            using var packed = new MemorySink();
            var client = new FedIcuClient(options with { Threads = threads });
            MaskReport whole = client.CreateUpdate(Global, Local, dense, dense: true, backend: backend);
            MaskReport small = client.CreateUpdate(Global, Local, packed, backend: backend);
            Assert.That(whole.BytesSent, Is.EqualTo(whole.BytesFull));
            Assert.That(small.BytesSent, Is.LessThanOrEqualTo(small.BytesFull));
            Assert.That(small.BytesSent, Is.EqualTo(packed.Model.Tensors.Sum(tensor => tensor.ByteLength)));
            (RoundReport report, MemorySink unpacked) =
                Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("c", packed.Model)]);
            using (unpacked)
                Assert.That(Models.AllBytes(unpacked.Model).AsSpan().SequenceEqual(Models.AllBytes(dense.Model)));
            Assert.That(report.Clients[0].BytesSent, Is.EqualTo(small.BytesSent));
            // backends may decide ties differently, but random numbers have none
            Assert.That(Models.AllBytes(dense.Model).AsSpan().SequenceEqual(expected ??= Models.AllBytes(dense.Model)),
                $"{threads} threads, {backend.Name}");
        }
    }

    [Test]
    public void ASoftMaskRefusesNegativeImportances()
    {
        using var sink = new MemorySink();
        var client = new FedIcuClient(
            new FedIcuClientOptions { Mask = MaskRule.Soft, ImportanceFunction = (_, magnitudes, importances) => importances.Fill(-1) });
        Assert.That(
            () => client.CreateUpdate(Global, Local, sink), Throws.InstanceOf<FedIcuException>().With.Message.Contains("negative values"));
    }

    [Test]
    public void SentEntriesAreTheTrainedOnesAndTheOthersTheReceivedOnes()
    {
        using var dense = new MemorySink();
        new FedIcuClient().CreateUpdate(Global, Local, dense, dense: true);
        float[] global = Global.ToArray<float>("head.weight"), local = Local.ToArray<float>("head.weight"),
            sent = dense.Model.ToArray<float>("head.weight");
        (double[] u, double[] g) = (local.Zip(global, (to, from) => Math.Abs((double)to - from)).ToArray(),
            global.Select(value => Math.Abs((double)value)).ToArray());
        for (int i = 0; i < sent.Length; i++)
        {
            double difference = Z(u, i) - Z(g, i);
            if (Math.Abs(difference) > 1e-9)
                Assert.That(sent[i], Is.EqualTo(difference > 0 ? local[i] : global[i]), $"element {i}");
        }

        static double Z(double[] values, int i)
        {
            double mean = values.Average();
            return (values[i] - mean) / Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Length - 1));
        }
    }

    [Test]
    public void TopSendsExactlyTheLargestAndTiesGoToTheLowerIndex()
    {
        MemoryModel global = Models.Of("w", [10], new float[10]);
        MemoryModel local = Models.Of("w", [10], 1, -3, 2, 3, 0, 2, -2, 1, 1, 0);
        float[] Sent(double ratio)
        {
            using var sink = new MemorySink();
            new FedIcuClient(new FedIcuClientOptions { Mask = MaskRule.TopRatio, TopRatio = ratio }).CreateUpdate(
                global, local, sink, dense: true);
            return sink.Model.ToArray<float>("w");
        }

        Assert.That(Sent(0.3), Is.EqualTo(new float[] { 0, -3, 2, 3, 0, 0, 0, 0, 0, 0 }));
        Assert.That(Sent(0.41), Is.EqualTo(new float[] { 0, -3, 2, 3, 0, 2, -2, 0, 0, 0 }), "ceil(4.1) = 5");
        Assert.That(Sent(1), Is.EqualTo(local.ToArray<float>("w")));
    }

    [Test]
    public void EqualMagnitudesShareTheMeanOfTheirRanks()
    {
        // ranks of u: 3, 1.5, 1.5, 4; of g: 1, 2, 3.5, 3.5
        using var sink = new MemorySink();
        new FedIcuClient(new FedIcuClientOptions { Importance = ImportanceRule.Rank }).CreateUpdate(
            Models.Of64("w", [4], 1, 2, 4, 4), Models.Of64("w", [4], 4, 3, 5, 8), sink, dense: true);
        Assert.That(sink.Model.ToArray<double>("w"), Is.EqualTo(new double[] { 4, 2, 4, 8 }));
    }

    [Test]
    public void ATensorWhoseDeviationIsZeroIsSentWholeOrNotAtAll()
    {
        double[] Sent(double[] global, double[] local)
        {
            using var sink = new MemorySink();
            new FedIcuClient().CreateUpdate(
                Models.Of64("w", [global.Length], global), Models.Of64("w", [local.Length], local), sink, dense: true);
            return sink.Model.ToArray<double>("w");
        }

        Assert.That(Sent([1, 2, 3], [2, 3, 4]), Is.EqualTo(new double[] { 2, 3, 4 }), "std(u) = 0 and u is not 0: everything is sent");
        Assert.That(Sent([5, -5, 5], [6, -7, 8]), Is.EqualTo(new double[] { 6, -7, 8 }), "std(g) = 0 and std(u) > 0: everything is sent");
        Assert.That(Sent([5], [6]), Is.EqualTo(new double[] { 6 }), "one element has no deviation, and is sent");
        Assert.That(Sent([1, 2], [1, 2]), Is.EqualTo(new double[] { 1, 2 }));
        Assert.That(
            Sent([0.5, 0.25], [0.5 + 1e-200, 0.25]), Is.EqualTo(new double[] { 0.5, 0.25 }), "float64 cannot hold this change");
    }

    // the top ratio always sends at least one entry
    [TestCase(MaskRule.Hard, 0), TestCase(MaskRule.Soft, 0), TestCase(MaskRule.GaussianNoise, 0), TestCase(MaskRule.TopRatio, 1)]
    public void AnUpdateOfEqualMagnitudesIsSentWholeOrNotAtAll(MaskRule mask, int leastSent)
    {
        foreach (ImportanceRule importance in Enum.GetValues<ImportanceRule>())
        {
            var client = new FedIcuClient(new FedIcuClientOptions { Mask = mask, Importance = importance, TopRatio = 1e-9, Sigma = 0 });
            foreach (double unit in (double[])[1, Math.ScaleB(1, -1030), Math.ScaleB(1, 1000)])
            {
                foreach (double[] global in (double[][])[[5], [3, 3, -3], [1, 2, 9]])
                {
                    double[] scaled = [.. global.Select(value => value * unit)],
                        changed = [.. scaled.Select((value, i) => value + (i % 2 == 0 ? unit : -unit))];
                    double[] whole = Sent(client, scaled, changed, out long sent), none = Sent(client, scaled, scaled, out long sentOfNone);
                    if (mask != MaskRule.TopRatio)
                        Assert.That(whole, Is.EqualTo(changed), $"{importance} {unit}");
                    Assert.That(sent, Is.EqualTo(mask == MaskRule.TopRatio ? 1 : global.Length), $"{importance} {unit}");
                    Assert.That((none, sentOfNone), Is.EqualTo((scaled, (long)leastSent)), $"{importance} {unit}");
                }
            }
        }
    }

    [Test]
    public void TinyChangesAreMeasuredBesideLargeUnchangedValues()
    {
        // |u| is 1e-200, 3e-200, 1e-200 and 0: the large received value of the last entry must not hide these
        // differences
        double[] made = Sent(new FedIcuClient(), [0, 0, 0, 1e300], [1e-200, 3e-200, 1e-200, 1e300], out long sent);
        Assert.That((made, sent), Is.EqualTo((new[] { 1e-200, 3e-200, 1e-200, 1e300 }, 3L)));
    }

    [Test]
    public void ScalingAllValuesDoesNotChangeTheMask(
        [Values(MaskRule.Hard, MaskRule.Soft, MaskRule.GaussianNoise)] MaskRule mask, [Values] ImportanceRule importance,
        [Values(-900, -540, 540, 1020)] int exponent)
    {
        var random = new Random(7);
        double[] global = [.. Enumerable.Range(0, 5000).Select(_ => random.NextDouble() - 0.5)],
            local = [.. global.Select(value => value + (random.NextDouble() - 0.5) / 8)];
        var client = new FedIcuClient(new FedIcuClientOptions { Mask = mask, Importance = importance });
        double[] plain = Sent(client, global, local, out long expected);
        double[] Scaled(double[] values, int by) => [.. values.Select(value => Math.ScaleB(value, by))];
        double[] made = Sent(client, Scaled(global, exponent), Scaled(local, exponent), out long sent);
        Assert.That(sent, Is.EqualTo(expected).And.InRange(1000, 4000));
        Assert.That(Scaled(made, -exponent), Is.EqualTo(plain).Within(1e-12));
    }

    private static double[] Sent(FedIcuClient client, double[] global, double[] local, out long sent)
    {
        using var sink = new MemorySink();
        MaskReport report =
            client.CreateUpdate(Models.Of64("w", [global.Length], global), Models.Of64("w", [local.Length], local), sink, dense: true);
        sent = report.Tensors[0].Sent;
        return sink.Model.ToArray<double>("w");
    }

    [Test]
    public void NoiseDependsOnSeedNameAndIndexAndHasItsDeviation()
    {
        var noise = new GaussianNoise(3, "w");
        double[] values = [.. Enumerable.Range(0, 100_000).Select(i => noise[i])];
        Assert.That(values.Average(), Is.EqualTo(0).Within(0.02));
        Assert.That(values.Sum(value => value * value) / values.Length, Is.EqualTo(1).Within(0.02));
        Assert.That(new GaussianNoise(3, "w")[41], Is.EqualTo(values[41]));
        Assert.That(new GaussianNoise(4, "w")[41], Is.Not.EqualTo(values[41]));
        Assert.That(new GaussianNoise(3, "v")[41], Is.Not.EqualTo(values[41]));
        // unimportant entries move by sigma std(delta), important ones are the trained ones
        using var sink = new MemorySink();
        MaskReport report = new FedIcuClient(new FedIcuClientOptions { Mask = MaskRule.GaussianNoise, Sigma = 0.5, Seed = 1 }).CreateUpdate(
            Global, Local, sink);
        float[] global = Global.ToArray<float>("square.weight"), local = Local.ToArray<float>("square.weight"),
            sent = sink.Model.ToArray<float>("square.weight");
        double[] delta = [.. local.Zip(global, (to, from) => (double)to - from)];
        double mean = delta.Average(), deviation = Math.Sqrt(delta.Sum(value => (value - mean) * (value - mean)) / (delta.Length - 1));
        double[] moved = [.. Enumerable.Range(0, sent.Length).Where(i => sent[i] != local[i]).Select(i => (double)sent[i] - global[i])];
        Assert.That(moved, Has.Length.EqualTo(
            report.Tensors.Single(tensor => tensor.Name == "square.weight") is { } masked ? masked.Elements - masked.Sent : -1));
        Assert.That(Math.Sqrt(moved.Sum(value => value * value) / moved.Length), Is.EqualTo(0.5 * deviation).Within(0.02 * deviation));
    }

    [Test]
    public void MomentumIsTheMovingAverageOfTheUpdates()
    {
        MemoryModel global = Models.Of64("w", [3], 0, 0, 0);
        using var sink = new MemorySink();
        using var first = new MemorySink();
        using var second = new MemorySink();
        var client = new FedIcuClient(new FedIcuClientOptions { Beta = 0.75 });
        client.CreateUpdate(global, Models.Of64("w", [3], 4, 8, -4), sink, momentum: null, momentumOutput: first);
        Assert.That(first.Model.ToArray<double>("w"), Is.EqualTo(new double[] { 4, 8, -4 }), "the first time u = delta");
        client.CreateUpdate(global, Models.Of64("w", [3], 0, 4, 4), sink, first.Model, second);
        Assert.That(second.Model.ToArray<double>("w"), Is.EqualTo(new double[] { 3, 7, -2 }));
    }

    [Test]
    public void UpdatesOfAnotherModelAndMalformedUpdatesAreRefused()
    {
        using var packed = new MemorySink();
        new FedIcuClient().CreateUpdate(Global, Local, packed);
        Assert.That(() => Models.Run(new FedAvgAggregator(), Models.Random(3, large: true), [ClientUpdate.FromTensors("c", packed.Model)]),
            Throws.TypeOf<RoundRejectedException>().With.Property(nameof(RoundRejectedException.Fault)).EqualTo(RoundFault.Base));

        MemoryModel upload = packed.Model;
        void Refused(
            string tensor, Func<TensorInfo, (TensorInfo, byte[])?> change, string sentence, Func<string, string, string?>? metadata = null)
        {
            var broken = new MemoryModel(
                upload.Metadata.Select(pair => (pair.Key, Value: metadata is null ? pair.Value : metadata(pair.Key, pair.Value)))
                .Where(pair => pair.Value is not null).ToDictionary(pair => pair.Key, pair => pair.Value!));
            foreach (TensorInfo info in upload.Tensors)
            {
                if (info.Name != tensor)
                    broken.Add(info, Models.Bytes(upload, info.Name));
                else if (change(info) is var (changed, bytes))
                    broken.Add(changed, bytes);
            }

            Assert.That(() => Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("c", broken)]),
                Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo($"Client 'c': 'memory': {sentence}"));
        }

        const string Head = "head.weight";
        byte[] Mask() => Models.Bytes(upload, Head + "#mask");
        long values = upload.Find(Head + "#values")!.ElementCount;
        Refused(Head + "#mask", _ => null, $"packed tensor '{Head}' has no '{Head}#mask'.");
        Refused(Head + "#values", _ => null, $"packed tensor '{Head}' has a '{Head}#mask' and no '{Head}#values'.");
        Refused(Head + "#mask", info => (info, [.. Mask()[..^1], 0xFF]), $"packed tensor '{Head}' has mask bits beyond its last element.");
        Refused(Head + "#mask", info => (info, [(byte)(Mask()[0] ^ 1), .. Mask()[1..]]),
            $"packed tensor '{Head}' has {values} values, but its mask has {values + ((Mask()[0] & 1) == 0 ? 1 : -1)} bits set.");
        Refused(Head + "#mask", info => (info with { Shape = new TensorShape(3) }, [0, 0, 0]),
            $"packed tensor '{Head}' has the shape [65, 17] and a mask of U8 [3]; a mask of U8 [139] was expected.");
        Refused("none", _ => null, $"packed tensor '{Head}' has no shape in the metadata ('fedicu.shape.{Head}').",
            (key, value) => key.EndsWith(Head, StringComparison.Ordinal) ? null : value);
        Refused("none", _ => null,
            $"packed tensor '{Head}' has the shape '65x17' in the metadata; a form such as [2, 3] with at most 64 dimensions was expected.",
            (key, value) => key.EndsWith(Head, StringComparison.Ordinal) ? "65x17" : value);
        Refused("none", _ => null, "a sparse update without 'fedicu.base' in its metadata cannot be unpacked.",
            (key, value) => key == "fedicu.base" ? null : value);
        Refused("none", _ => null, "metadata 'fedicu.update' is 'thin'; full, delta or sparse was expected.",
            (key, value) => key == "fedicu.update" ? "thin" : value);
    }

    [Test]
    public void ModelsThatDoNotFitAreRefusedWithoutOutput()
    {
        MemoryModel global = Models.Of("w", [2], 1, 2);
        void Refused(MemoryModel local, MemoryModel? momentum, string sentence)
        {
            using var sink = new MemorySink();
            using var momentumSink = new MemorySink();
            Assert.That(() => new FedIcuClient().CreateUpdate(global, local, sink, momentum, momentumSink),
                Throws.TypeOf<InvalidModelException>().With.Message.EqualTo(sentence));
            Assert.That(() => sink.Model, Throws.InvalidOperationException);
            Assert.That(() => momentumSink.Model, Throws.InvalidOperationException);
        }

        Refused(Models.Of("v", [2], 1, 2), null, "'memory': tensor 'w' is missing; F32 [2] was expected.");
        Refused(Models.Of("w", [1, 2], 1, 2), null, "'memory': tensor 'w' is F32 [1, 2]; F32 [2] was expected, as in 'memory'.");
        Refused(Models.Of64("w", [2], 1, 2), null, "'memory': tensor 'w' is F64 [2]; F32 [2] was expected, as in 'memory'.");
        Refused(new() { { "w", [2], new float[2] }, { "x", [1], new float[1] } }, null,
            "'memory': tensor 'x' of F32 [1] is not in the global model 'memory'.");
        Refused(Models.Of("w", [2], 1, 2), Models.Of("v", [2], 1, 2),
            "'memory': the momentum of tensor 'w' is missing; F32 [2] was expected.");
        Refused(Models.Of("w", [2], 1, float.NaN), null,
            "'memory': the trained model's tensor 'w' has 1 value that is NaN or infinite; finite values were expected.");
        var supplied = new FedIcuClient(new FedIcuClientOptions { Momentum = MomentumRule.Supplied });
        Assert.That(() => supplied.CreateUpdate(global, global, TensorSink.Discard),
            Throws.TypeOf<InvalidOptionsException>());
    }

    [Test]
    public void ValuesThatAreNotFiniteAreNotSent()
    {
        void Refused(
            FedIcuClientOptions options, MemoryModel global, MemoryModel local, MemoryModel? momentum, bool keepsMomentum, string sentence)
        {
            using var sink = new MemorySink();
            using var momentumSink = new MemorySink();
            Assert.That(() => new FedIcuClient(options).CreateUpdate(global, local, sink, momentum, keepsMomentum ? momentumSink : null),
                Throws.TypeOf<InvalidModelException>().With.Message.EqualTo(sentence));
            Assert.That(() => sink.Model, Throws.InvalidOperationException);
            Assert.That(() => momentumSink.Model, Throws.InvalidOperationException);
        }

        MemoryModel global = Models.Of("w", [4], 1, 2, 3, 4), momentum = Models.Of("w", [4], 4, 1, 0, 0);
        foreach (MaskRule mask in Enum.GetValues<MaskRule>())
        {
            // a supplied u is not computed from the trained model
            var supplied = new FedIcuClientOptions { Momentum = MomentumRule.Supplied, Mask = mask };
            Refused(supplied, global, Models.Of("w", [4], float.NaN, 2, float.NegativeInfinity, 4), momentum, false,
                "'memory': the trained model's tensor 'w' has 2 values that are NaN or infinite; finite values were expected.");
        }

        Refused(new(), global, global, Models.Of("w", [4], 0, float.NaN, 0, 0), false,
            "'memory': the momentum's tensor 'w' has 1 value that is NaN or infinite; finite values were expected.");
        Refused(new(), Models.Of64("w", [2], double.MaxValue, 1), Models.Of64("w", [2], -double.MaxValue, 2), null, false,
            "Tensor 'w': the difference between the trained and the received model is too large for F64, from finite values.");
        Refused(new(), Models.Of("w", [2], 3e38f, 1), Models.Of("w", [2], -3e38f, 2), null, true,
            $"Tensor 'w': its momentum has magnitudes up to {Numbers.Invariant(2.0 * 3e38f)}, which do not fit F32.");
        using var folder = new TempFolder();
        Models.Of("w", [4], 1, 2, float.NaN, 4).SaveTo(TensorSink.ToFile(folder["trained.safetensors"]));
        using TensorSource file = TensorSource.Open(folder["trained.safetensors"]);
        Assert.That(() => new FedIcuClient().CreateUpdate(global, file, TensorSink.Discard),
            Throws.TypeOf<InvalidModelException>().With.Message.StartsWith(
                $"'{folder["trained.safetensors"]}': the trained model's tensor 'w' has 1 value"));

        var small = new MemoryModel { { "w", [64], Enumerable.Range(0, 64).Select(i => (Half)(i % 3)).ToArray() } };
        var large = new MemoryModel { { "w", [64], Enumerable.Range(0, 64).Select(i => (Half)(i * 900)).ToArray() } };
        var noisy = new FedIcuClient(new FedIcuClientOptions { Mask = MaskRule.GaussianNoise, Sigma = 1e3 });
        Assert.That(() => noisy.CreateUpdate(small, large, TensorSink.Discard),
            Throws.TypeOf<InvalidModelException>().With.Message.Matches(
                "^Tensor 'w': [0-9]+ values to be sent are not finite, from finite values; they do not fit F16.$"));
    }

    [Test]
    public void ASoftMaskComparesDeviationsEvenIfAllSigmoidsAreOne()
    {
        // a single outlier of n values is sqrt(n) deviations away, one of two sqrt(n / 2): both sigmoids are 1
        const int Length = 2000;
        double[] global = [.. Enumerable.Range(0, Length).Select(i => 1 + i % 3 * .1)],
            local = [.. global.Select((value, i) => value + (i % 5 + 1) * 1e-3)];
        (global[0], global[1]) = (1000, 1000);
        (local[0], local[1]) = (2000, 1000);
        double[] soft = Sent(MaskRule.Soft, global, local), hard = Sent(MaskRule.Hard, global, local);
        Assert.That(soft[0], Is.GreaterThan(1000));
        Assert.That(soft.Select((value, i) => value != global[i]), Is.EqualTo(hard.Select((value, i) => value != global[i])),
            "both masks send the same entries");
        // a received model of equal magnitudes: every entry is sent, each with m = 1
        Assert.That(Sent(MaskRule.Soft, [5, -5, 5], [6, -7, 8]), Is.EqualTo(new double[] { 6, -7, 8 }));
    }

    [Test]
    public void ASoftMaskOfSigmoidsThatAreAllZeroIsFinite()
    {
        // Of n equal magnitudes, a smaller one is sqrt(n) deviations below the mean, and each of two smaller ones
        // sqrt(n / 2). A sigmoid is 0 from -745 on.
        const int Length = 1_200_000;
        double[] global = new double[Length], local = new double[Length];
        for (int i = 0; i < Length; i++)
            (global[i], local[i]) = (1, 2);
        (global[0], global[1]) = (.5, 1);
        (local[0], local[1]) = (1, 1.5);
        double[] sent = Sent(MaskRule.Soft, global, local);
        Assert.That(Array.TrueForAll(sent, double.IsFinite));
        Assert.That(sent[0], Is.Not.EqualTo(global[0]));
    }

    [Test]
    public void TheTopEntriesAreFoundAcrossPanels([Values(.07, .5, .93)] double ratio, [Values(1, 4)] int threads)
    {
        // few different magnitudes give ties in every panel, and not all of them are sent
        const int Length = 700_003;
        var random = new Random(3);
        double[] local = [.. Enumerable.Range(0, Length).Select(_ => (double)random.Next(-9, 10))];
        double[] sent = Sent(MaskRule.TopRatio, new double[Length], local,
            new FedIcuClientOptions { Mask = MaskRule.TopRatio, TopRatio = ratio, Threads = threads });
        double[] expected = new double[Length];
        int count = (int)Math.Ceiling((decimal)ratio * Length);
        foreach (int i in Enumerable.Range(0, Length).OrderByDescending(i => Math.Abs(local[i])).ThenBy(i => i).Take(count))
            expected[i] = local[i];
        Assert.That(sent.AsSpan().SequenceEqual(expected));
    }

    [Test]
    public void TheTopRatioIsTakenInDecimal()
    {
        // in binary 0.07 * 100 is a little more than 7
        MaskReport report = new FedIcuClient(new FedIcuClientOptions { Mask = MaskRule.TopRatio, TopRatio = 0.07 }).CreateUpdate(
            Models.Of("w", [100], new float[100]), Models.Of("w", [100], [.. Enumerable.Range(0, 100).Select(i => (float)i)]),
            TensorSink.Discard);
        Assert.That(report.Tensors[0].Sent, Is.EqualTo(7));
    }

    [Test]
    public void ValuesThatDoNotFitInMemoryAreTheSame()
    {
        // three of four elements are sent, more than the 64 MiB that are kept; each value tells its index
        const int Length = 12 << 20;
        double[] global = new double[Length], local = new double[Length];
        for (int i = 0; i < Length; i++)
            (global[i], local[i]) = i % 4 == 0 ? (1e9, 1e9) : (0, 1e9 + i);
        using var sink = new MemorySink();
        MaskReport report = new FedIcuClient(new FedIcuClientOptions { Threads = 2 }).CreateUpdate(
            Models.Of64("w", [Length], global), Models.Of64("w", [Length], local), sink);
        double[] values = sink.Model.ToArray<double>("w#values");
        Assert.That(values, Has.Length.EqualTo(report.Tensors[0].Sent).And.Length.GreaterThan((64 << 20) / sizeof(double)));
        byte[] mask = sink.Model.ToArray<byte>("w#mask");
        double[] expected = [.. local.Where((_, i) => (mask[i / 8] >> i % 8 & 1) != 0)];
        Assert.That(values.AsSpan().SequenceEqual(expected));
    }

    [Test]
    public void AnImportanceFunctionIsCalledByOneThreadAtATime()
    {
        int inside = 0, most = 0;
        var client = new FedIcuClient(new FedIcuClientOptions
        {
            Threads = 4,
            ImportanceFunction = (_, magnitudes, importances) =>
            {
                most = Math.Max(most, Interlocked.Increment(ref inside));
                magnitudes.CopyTo(importances);
                Thread.Yield();
                Interlocked.Decrement(ref inside);
            },
        });
        client.CreateUpdate(Global, Local, TensorSink.Discard);
        Assert.That(most, Is.EqualTo(1));
    }

    [Test]
    public void AFailureLeavesNothingPinned()
    {
        MemoryModel global = new() { { "a", [2], new float[] { 1, 2 } }, { "b", [2], new float[] { 1, 2 } } };
        using var received = new PinningSource(global);
        using var broken = new PinningSource(global) { Fails = true };
        using var trained = new PinningSource(new() { { "a", [2], new float[] { 2, 2 } }, { "b", [2], new float[] { 1, float.NaN } } });
        Assert.That(() => new FedIcuClient().CreateUpdate(received, trained, TensorSink.Discard), Throws.TypeOf<InvalidModelException>());
        Assert.That((received.Pinned, trained.Pinned), Is.EqualTo((0, 0)));
        Assert.That(received.Pins, Is.GreaterThan(0));
        // a source that fails after others were pinned
        Assert.That(() => new FedIcuClient().CreateUpdate(received, broken, TensorSink.Discard), Throws.TypeOf<IOException>());
        Assert.That(received.Pinned, Is.Zero);
        new FedIcuClient().CreateUpdate(received, received, TensorSink.Discard);
        Assert.That(received.Pinned, Is.Zero);
    }

    [Test]
    public void ProgressIsReportedAndCancellationLeavesNoOutput()
    {
        var steps = new List<RoundProgress>();
        using var stop = new CancellationTokenSource();
        using var sink = new MemorySink();
        var client = new FedIcuClient(new FedIcuClientOptions { Threads = 3, Progress = new Steps(steps.Add) });
        client.CreateUpdate(Global, Local, sink, cancellationToken: stop.Token);
        long total = Global.Tensors.Sum(tensor => tensor.ByteLength);
        foreach (string phase in (string[])["select", "write"])
        {
            RoundProgress[] own = [.. steps.Where(step => step.Phase == phase)];
            Assert.That(own.Select(step => step.Tensor), Is.EquivalentTo(Global.Tensors.Select(tensor => tensor.Name)));
            Assert.That(own.Select(step => step.BytesDone), Is.Ordered);
            Assert.That((own[^1].BytesDone, own[^1].BytesTotal), Is.EqualTo((total, total)));
        }

        using var other = new MemorySink();
        var stopping = new FedIcuClient(new FedIcuClientOptions { Progress = new Steps(_ => stop.Cancel()) });
        Assert.That(() => stopping.CreateUpdate(Global, Local, other, cancellationToken: stop.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => other.Model, Throws.InvalidOperationException);
    }

    private static double[] Sent(MaskRule mask, double[] global, double[] local, FedIcuClientOptions? options = null)
    {
        using var sink = new MemorySink();
        new FedIcuClient(options ?? new FedIcuClientOptions { Mask = mask }).CreateUpdate(
            Models.Of64("w", [global.Length], global), Models.Of64("w", [local.Length], local), sink, dense: true);
        return sink.Model.ToArray<double>("w");
    }

    private sealed class Steps(Action<RoundProgress> told) : IProgress<RoundProgress>
    {
        public void Report(RoundProgress value) => told(value);
    }

    /// <summary>Lends a model's memory and counts the pins that were not released.</summary>
    private sealed unsafe class PinningSource(MemoryModel model) : TensorSource, IPinnable
    {
        private readonly List<MemoryHandle> _held = [];
        private int _pinned, _pins;

        public bool Fails { get; init; }

        public int Pinned => _pinned;

        public int Pins => _pins;

        public override IReadOnlyList<TensorInfo> Tensors => model.Tensors;

        public override string Location => model.Location;

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => model.Read(tensor, offset, destination);

        public override bool TryPin(TensorInfo tensor, out MemoryHandle memory)
        {
            if (Fails)
                throw new IOException("gone");
            Interlocked.Increment(ref _pinned);
            Interlocked.Increment(ref _pins);
            model.TryPin(tensor, out MemoryHandle inner);
            lock (_held)
                _held.Add(inner);
            memory = new MemoryHandle(inner.Pointer, pinnable: this);
            return true;
        }

        public MemoryHandle Pin(int elementIndex) => throw new NotSupportedException();

        public void Unpin() => Interlocked.Decrement(ref _pinned);

        protected override void Dispose(bool disposing)
        {
            _held.ForEach(handle => handle.Dispose());
            base.Dispose(disposing);
        }
    }
}
