using CsCheck;
using FedICU.Compute;
using FedICU.Strategies.Lora;
using FedICU.Tests.Files;

namespace FedICU.Tests.Rounds;

/// <summary>The balancing of LoRA's factors at a round's end (docs/algorithms.md, LoRA adapters: balance).</summary>
internal sealed class BalanceTests
{
    private const string A = "layer.lora_A.weight", B = "layer.lora_B.weight", Other = "layer.bias";

    [Test]
    public void TheProductIsUnchangedAndBothFactorsHaveItsSingularValues() =>
        Gen.Select(Gen.Int[1, 6], Gen.Int[1, 20], Gen.Int[1, 20], Gen.Int[0, 1 << 20]).Sample((rank, inputs, outputs, seed) =>
        {
            using MemoryModel plain = Run(rank, inputs, outputs, seed, DType.F64, balance: false),
                balanced = Run(rank, inputs, outputs, seed, DType.F64, balance: true);
            double[,] expected = Product(plain, rank, inputs, outputs), made = Product(balanced, rank, inputs, outputs);
            for (int i = 0; i < outputs; i++)
            {
                for (int j = 0; j < inputs; j++)
                    Assert.That(made[i, j], Is.EqualTo(expected[i, j]).Within(1e-7), $"rank {rank}, {outputs} x {inputs}, seed {seed}");
            }

            double[] a = balanced.ToArray<double>(A), b = balanced.ToArray<double>(B);
            double previous = double.PositiveInfinity;
            // beyond the product's rank the factors are not determined
            for (int r = 0; r < Math.Min(rank, Math.Min(inputs, outputs)); r++)
            {
                double ofA = Dot(i => a[r * inputs + i], i => a[r * inputs + i], inputs),
                    ofB = Dot(i => b[i * rank + r], i => b[i * rank + r], outputs);
                Assert.That(ofA, Is.EqualTo(ofB).Within(1e-6), "both factors have the same singular value");
                Assert.That(ofA, Is.LessThanOrEqualTo(previous + 1e-9));
                previous = ofA;
                for (int q = 0; q < r; q++)
                {
                    Assert.That(Dot(i => a[r * inputs + i], i => a[q * inputs + i], inputs), Is.Zero.Within(1e-6));
                    Assert.That(Dot(i => b[i * rank + r], i => b[i * rank + q], outputs), Is.Zero.Within(1e-6));
                }
            }
        }, iter: 100);

    [Test]
    public void ABalancedPairHasItsKnownValues()
    {
        // B A = [[3, 0], [0, 2]] has the singular values 3 and 2
        using var global = new MemoryModel { { A, [2, 2], new double[] { 0, 0.5, 6, 0 } }, { B, [2, 2], new double[] { 0, 0.5, 4, 0 } } };
        using MemoryModel balanced = Run(global, [global], balance: true);
        Assert.That(balanced.ToArray<double>(A).Select(Math.Abs), Is.EqualTo(new[] { Math.Sqrt(3), 0, 0, Math.Sqrt(2) }).Within(1e-12));
        Assert.That(balanced.ToArray<double>(B).Select(Math.Abs), Is.EqualTo(new[] { Math.Sqrt(3), 0, 0, Math.Sqrt(2) }).Within(1e-12));
    }

    [Test]
    public void OtherTensorsAndZeroFactorsAreNotChanged()
    {
        using MemoryModel plain = Run(4, 9, 5, 3, DType.F32, balance: false), balanced = Run(4, 9, 5, 3, DType.F32, balance: true);
        Assert.That(balanced.ToArray<float>(Other), Is.EqualTo(plain.ToArray<float>(Other)));
        Assert.That(balanced.ToArray<float>(A), Is.Not.EqualTo(plain.ToArray<float>(A)));

        using MemoryModel start = Model(4, 9, 5, 3, DType.F32, zeroB: true);
        using MemoryModel still = Run(start, [start, start], balance: true);
        Assert.That(Models.AllBytes(still), Is.EqualTo(Models.AllBytes(start)));
    }

    [Test]
    public void ADirectionWithoutAProductKeepsItsRowOfA()
    {
        // B's second column is twice its first, so the product is 0 in one direction
        using var model = new MemoryModel { { A, [2, 3], new double[] { 1, 2, 3, -1, 0, 1 } },
            { B, [2, 2], new double[] { 1, 2, -1, -2 } } };
        using MemoryModel balanced = Run(model, [model], balance: true);
        double[] a = balanced.ToArray<double>(A), b = balanced.ToArray<double>(B);
        Assert.That(new[] { b[1], b[3] }, Is.All.EqualTo(0).Within(1e-12));
        // u = (2, -1) / sqrt(5): u^T A = (3, 4, 5) / sqrt(5)
        Assert.That(a[3..].Select(Math.Abs), Is.EqualTo(new[] { 3, 4, 5 }.Select(value => value / Math.Sqrt(5))).Within(1e-12));
        Assert.That(Product(balanced, 2, 3, 2), Is.EqualTo(Product(model, 2, 3, 2)).Within(1e-12));
    }

    [Test]
    public void ThreadsChangeNoBitAndABackendOnlyTheRounding([Values(DType.F64, DType.F32, DType.F16, DType.BF16)] DType dtype)
    {
        byte[]? expected = null;
        foreach (int threads in (int[])[1, 2, 5])
        {
            using MemoryModel balanced = Run(8, 40, 30, 11, dtype, balance: true, threads);
            Assert.That(Models.AllBytes(balanced), Is.EqualTo(expected ??= Models.AllBytes(balanced)));
        }

        using MemoryModel plain = Run(8, 40, 30, 11, dtype, balance: false),
            other = Run(8, 40, 30, 11, dtype, balance: true, backend: new ReferenceBackend());
        Assert.That(Product(other, 8, 40, 30), Is.EqualTo(Product(plain, 8, 40, 30)).Within(20 * Unit(dtype)));
    }

    [Test]
    public void ABalancedModelIsWrittenToAFile()
    {
        using var folder = new TempFolder();
        using MemoryModel model = Model(4, 9, 5, 3, DType.F32);
        var round = new AggregationRound(model) { ClientUpdate.FromTensors("a", model) };
        Balanced(new FedIcu()).AggregateAsync(round, TensorSink.ToFile(folder["m.safetensors"])).GetAwaiter().GetResult();
        using MemoryModel balanced = Run(model, [model], balance: true, merge: new FedIcu());
        using TensorSource file = TensorSource.Open(folder["m.safetensors"]);
        Assert.That(Models.AllBytes(file), Is.EqualTo(Models.AllBytes(balanced)));
    }

    [Test]
    public void AnyTypeOfModelIsBalancedIntoAnyTypeOfOutput(
        [Values(DType.F64, DType.F32, DType.F16, DType.BF16)] DType model,
        [Values(DType.F64, DType.F32, DType.F16, DType.BF16)] DType output)
    {
        using MemoryModel global = Model(3, 9, 5, 1, model);
        using MemoryModel plain = Run(global, [global], balance: false, DType.F64), balanced = Run(global, [global], balance: true, output);
        Assert.That(balanced.Tensors.Select(tensor => tensor.DType), Is.All.EqualTo(output));
        Assert.That(Models.ToDoubles(balanced, Other), Is.EqualTo(Models.ToDoubles(plain, Other)).Within(Unit(output)));
        Assert.That(Product(balanced, 3, 9, 5), Is.EqualTo(Product(plain, 3, 9, 5)).Within(20 * Unit(output)));
        double[] a = Models.ToDoubles(balanced, A), b = Models.ToDoubles(balanced, B);
        for (int r = 0; r < 3; r++)
            Assert.That(Dot(i => a[r * 9 + i], i => a[r * 9 + i], 9), Is.EqualTo(Dot(i => b[i * 3 + r], i => b[i * 3 + r], 5))
                .Within(20 * Unit(output)));
    }

    [Test]
    public void FactorsOfTwoTypesKeepTheirTypes()
    {
        using var global = new MemoryModel { { A, [2, 2], new float[] { 0, 0.5f, 6, 0 } }, { B, [2, 2], new double[] { 0, 0.5, 4, 0 } } };
        using MemoryModel balanced = Run(global, [global], balance: true);
        Assert.That(balanced.ToArray<float>(A).Select(value => Math.Abs((double)value)),
            Is.EqualTo(new[] { Math.Sqrt(3), 0, 0, Math.Sqrt(2) }).Within(1e-7));
        Assert.That(balanced.ToArray<double>(B).Select(Math.Abs), Is.EqualTo(new[] { Math.Sqrt(3), 0, 0, Math.Sqrt(2) }).Within(1e-12));
    }

    /// <summary>
    /// A convolution's weight is [o, i, h, w] = sum of B[o, r] A[r, i, h, w], a product of matrices; so is an
    /// embedding's.
    /// </summary>
    [TestCase("c.lora_A.weight", "c.lora_B.weight", new long[] { 2, 3, 2, 2 }, new long[] { 5, 2, 1, 1 })]
    [TestCase("c.lora_A.weight", "c.lora_B.weight", new long[] { 2, 4, 3 }, new long[] { 5, 2, 1 })]
    [TestCase("c.lora_A.weight", "c.lora_B.weight", new long[] { 2, 1, 3, 2, 2 }, new long[] { 5, 2, 1, 1, 1 })]
    [TestCase("e.lora_embedding_A", "e.lora_embedding_B", new long[] { 2, 12 }, new long[] { 5, 2 })]
    [TestCase("lora_unet_c.lora_down.weight", "lora_unet_c.lora_up.weight", new long[] { 2, 12 }, new long[] { 5, 2 })]
    public void ConvolutionsAndEmbeddingsAreBalancedAsMatrices(string nameOfA, string nameOfB, long[] shapeOfA, long[] shapeOfB)
    {
        using MemoryModel matrices = Model(2, 12, 5, 7, DType.F64);
        using var global = new MemoryModel { { nameOfA, shapeOfA, matrices.ToArray<double>(A) },
            { nameOfB, shapeOfB, matrices.ToArray<double>(B) } };
        using MemoryModel expected = Run(matrices, [matrices], balance: true), balanced = Run(global, [global], balance: true);
        Assert.That(balanced.ToArray<double>(nameOfA), Is.EqualTo(expected.ToArray<double>(A)));
        Assert.That(balanced.ToArray<double>(nameOfB), Is.EqualTo(expected.ToArray<double>(B)));
        Assert.That(balanced.Find(nameOfA)!.Shape, Is.EqualTo(new TensorShape(shapeOfA)));
    }

    [Test]
    public void FactorsThatFormNoPairAreAveragedAndNoted()
    {
        MemoryModel Module(int seed)
        {
            MemoryModel model = Model(4, 9, 5, seed, DType.F32);
            model.Add("layer.lora_E", [4, 1], new float[] { seed, 2, 3, 4 });
            return model;
        }

        using MemoryModel global = Module(1), first = Module(2), second = Module(3);
        ClientUpdate[] clients = [ClientUpdate.FromTensors("a", first, 1), ClientUpdate.FromTensors("b", second, 2)];
        (RoundReport _, MemorySink plain) = Models.Run(new FedAvgAggregator(), global, clients);
        (RoundReport report, MemorySink balanced) =
            Models.Run(Balanced(), global, clients, new RoundOptions { Statistics = true });
        Models.AssertSameBits(balanced, plain);
        Assert.That(report.LoraPairs, Is.Empty);
        Assert.That(report.Notes.Single(), Does.StartWith("The factors of 'layer' (AdaLoRA: lora_E) form no product B A"));
    }

    /// <summary>
    /// In LoRA on fused experts A has blocks of r rows for each expert, and B interleaves them, so W is not B A.
    /// </summary>
    [Test]
    public void FusedExpertsAreAveragedAndNoted()
    {
        using var folder = new TempFolder();
        const string Experts = "base_model.model.model.layers.0.mlp.experts", Query = "base_model.model.model.layers.0.self_attn.q_proj";
        var config = PeftAdapterConfig.Parse("""
            {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"],
             "target_parameters": ["mlp.experts.down_proj"], "base_model_name_or_path": "x"}
            """u8, "test");
        foreach ((int seed, string name) in new[] { "global", "a", "b" }.Index())
        {
            var random = new Random(seed);
            float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - .5f)];
            using var model = new MemoryModel
            {
                { Experts + ".lora_A.weight", [8, 6], Values(48) }, { Experts + ".lora_B.weight", [5, 8], Values(40) },
                { Query + ".lora_A.weight", [2, 6], Values(12) }, { Query + ".lora_B.weight", [5, 2], Values(10) },
            };
            model.SaveTo(TensorSink.ToAdapterFolder(folder[name], config));
        }

        using TensorSource global = TensorSource.Open(folder["global"]);
        ClientUpdate[] clients = [ClientUpdate.FromFile("a", folder["a"], 1), ClientUpdate.FromFile("b", folder["b"], 1)];
        (RoundReport _, MemorySink plain) = Models.Run(new FedAvgAggregator(), global, clients);
        (RoundReport report, MemorySink balanced) =
            Models.Run(Balanced(), global, clients, new RoundOptions { Statistics = true });
        using (plain)
        using (balanced)
        {
            foreach (string factor in (string[])[".lora_A.weight", ".lora_B.weight"])
            {
                Assert.That(balanced.Model.ToArray<float>(Experts + factor), Is.EqualTo(plain.Model.ToArray<float>(Experts + factor)));
                Assert.That(balanced.Model.ToArray<float>(Query + factor), Is.Not.EqualTo(plain.Model.ToArray<float>(Query + factor)),
                    "plain LoRA beside them is balanced");
            }
        }

        Assert.That(report.LoraPairs.Select(pair => pair.Name), Is.EqualTo(new[] { Query }));
        Assert.That(report.Notes, Has.One.StartsWith($"The factors of '{Experts}' (target_parameters) form no product B A"));
    }

    [Test]
    public void FactorsThatWouldNotFitTheOutputAreNotBalanced()
    {
        // the product's singular value is 1e10, so each balanced factor would have its root, 1e5
        using var global = new MemoryModel { { A, [1, 2], new double[] { 1e4, 0 } }, { B, [2, 1], new double[] { 1e6, 0 } },
            { "z", [1], new double[] { 1 } } };
        Assert.That(() => Run(global, [global], balance: true, DType.F16),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith($"Client '0': tensor '{B}' has 1 value too large for F16"));
        using var scaled = new MemoryModel { { A, [1, 2], new double[] { 4e4, 0 } }, { B, [2, 1], new double[] { 5e4, 5e4 } },
            { "z", [1], new double[] { 1 } } };
        using (MemoryModel plain = Run(scaled, [scaled], balance: false, DType.F16))
            Assert.That(Models.ToDoubles(plain, A)[0], Is.EqualTo(4e4));
        using var larger = new MemoryModel { { A, [4, 2], new double[] { 6e4, 6e4, 6e4, 6e4, 6e4, 6e4, 6e4, 6e4 } },
            { B, [1, 4], new double[] { 6e4, 6e4, 6e4, 6e4 } } };
        (RoundReport report, MemorySink sink) = Models.Run(
            Balanced(), larger, [ClientUpdate.FromTensors("0", larger, 1)],
            new RoundOptions { OutputDType = DType.F16 });
        using (sink)
            Assert.That(Models.ToDoubles(sink.Model, A), Is.All.EqualTo(6e4).Within(16), "as in the plain mean");
        Assert.That(report.Notes, Has.One.EqualTo("The factors of 'layer' were not balanced: balanced, they would not fit F16."));
        using MemoryModel fits = Run(larger, [larger], balance: true, DType.BF16);
        Assert.That(Models.ToDoubles(fits, A), Is.All.Matches<double>(double.IsFinite));
    }

    [Test]
    public void FactorsWithInfiniteInnerProductsAreNotBalanced()
    {
        using var global = new MemoryModel { { A, [1, 2], new double[] { 1e200, 0 } }, { B, [2, 1], new double[] { 1, 2 } } };
        (RoundReport report, MemorySink sink) = Models.Run(Balanced(), global, [ClientUpdate.FromTensors("a", global, 1)]);
        using (sink)
            Assert.That(Models.AllBytes(sink.Model), Is.EqualTo(Models.AllBytes(global)));
        Assert.That(report.Notes,
            Is.EqualTo(new[] { "The factors of 'layer' were not balanced: their inner products are too large for float64." }));
    }

    [Test]
    public void APairWithAKeptTensorIsNotBalanced([Values(A, B)] string faulty)
    {
        using MemoryModel global = Model(2, 4, 3, 1, DType.F32), good = Model(2, 4, 3, 2, DType.F32), bad = Model(2, 4, 3, 3, DType.F32);
        using var broken = new MemoryModel();
        foreach (TensorInfo tensor in bad.Tensors)
            broken.Add(tensor.Name, tensor.Shape.Dimensions, tensor.Name == faulty
                ? [.. bad.ToArray<float>(tensor.Name)[1..], float.NaN] : bad.ToArray<float>(tensor.Name));
        ClientUpdate[] clients = [ClientUpdate.FromTensors("a", good, 1), ClientUpdate.FromTensors("b", broken, 1)];
        (RoundReport report, MemorySink sink) = Models.Run(Balanced(), global, clients,
            new RoundOptions { Statistics = true, OnNonFinite = FaultPolicy.DropTensor });
        using (sink)
        {
            Assert.That(sink.Model.ToArray<float>(faulty), Is.EqualTo(global.ToArray<float>(faulty)));
            string other = faulty == A ? B : A;
            Assert.That(sink.Model.ToArray<float>(other),
                Is.EqualTo(good.ToArray<float>(other).Zip(bad.ToArray<float>(other), (x, y) => (float)(((double)x + y) / 2))));
        }

        Assert.That(report.LoraPairs, Is.Empty);
        Assert.That(report.Notes,
            Is.EqualTo(new[] { "The factors of 'layer' were not balanced: at least one of the two keeps the global model's value." }));
    }

    [Test]
    public void EmptyFactorsAreNoted()
    {
        using var global = new MemoryModel { { A, [0, 4], Array.Empty<float>() }, { B, [3, 0], Array.Empty<float>() } };
        RoundReport report = Models.RunForReport(Balanced(), global, [ClientUpdate.FromTensors("a", global, 1)]);
        Assert.That(report.Notes.Single(), Does.Contain("'layer' (the shapes [0, 4] and [3, 0])"));
    }

    [Test]
    public void ALargeRankIsBalanced()
    {
        using MemoryModel global = Model(256, 300, 280, 5, DType.F64);
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        using MemoryModel balanced = Run(global, [global], balance: true);
        TestContext.Out.WriteLine($"rank 256: {System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds:F2} s");
        double[] a = balanced.ToArray<double>(A), b = balanced.ToArray<double>(B);
        foreach (int r in (int[])[0, 100, 255])
        {
            Assert.That(Dot(i => a[r * 300 + i], i => a[r * 300 + i], 300), Is.EqualTo(Dot(i => b[i * 256 + r], i => b[i * 256 + r], 280))
                .Within(1e-6));
            Assert.That(Dot(i => a[r * 300 + i], i => a[(r ^ 1) * 300 + i], 300), Is.Zero.Within(1e-6));
        }
    }

    private static StageAggregator Balanced(MergeRule? merge = null) => new(merge ?? new FedAvg(), new LoraBalance());

    [Test]
    public void LongFactorsAreSplit() => Assert.That(
        PairBalance.Split(5L << 30).Select(piece => (piece.Start, piece.Count)).Aggregate((End: 0L, Largest: 0), (sum, piece) =>
        {
            Assert.That(piece.Start, Is.EqualTo(sum.End));
            return (piece.Start + piece.Count, Math.Max(sum.Largest, piece.Count));
        }), Is.EqualTo((5L << 30, 1 << 28)));

    private static double Unit(DType dtype) =>
        dtype switch { DType.BF16 => 1.0 / 256, DType.F16 => 1.0 / 2048, DType.F32 => 1e-6, _ => 1e-12 };

    private static MemoryModel Model(int rank, int inputs, int outputs, int seed, DType dtype, bool zeroB = false)
    {
        var random = new Random(seed);
        var wide = new MemoryModel { { A, [rank, inputs], Values(rank * inputs) },
            { B, [outputs, rank], zeroB ? new double[outputs * rank] : Values(outputs * rank) }, { Other, [7], Values(7) } };
        if (dtype == DType.F64)
            return wide;
        using (wide)
            return Run(wide, [wide], balance: false, output: dtype);

        double[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextDouble() - 0.5)];
    }

    private static MemoryModel Run(
        int rank, int inputs, int outputs, int seed, DType dtype, bool balance, int threads = 0, IComputeBackend? backend = null)
    {
        MemoryModel[] models = [.. Enumerable.Range(0, 4).Select(k => Model(rank, inputs, outputs, seed + k, dtype))];
        try
        {
            return Run(models[0], models[1..], balance, threads: threads, backend: backend);
        }
        finally
        {
            Array.ForEach(models, model => model.Dispose());
        }
    }

    private static MemoryModel Run(
        MemoryModel global, MemoryModel[] clients, bool balance, DType? output = null, int threads = 0, IComputeBackend? backend = null,
        MergeRule? merge = null)
    {
        var round = new AggregationRound(global,
            new RoundOptions { OutputDType = output, Threads = threads, Backend = backend });
        foreach ((int k, MemoryModel client) in clients.Index())
            round.Add(ClientUpdate.FromTensors($"{k}", client));
        var sink = new MemorySink();
        (balance ? Balanced(merge) : new FedAvgAggregator()).AggregateAsync(round, sink).GetAwaiter().GetResult();
        return sink.Model;
    }

    private static double[,] Product(MemoryModel model, int rank, int inputs, int outputs)
    {
        double[] a = Wide(A), b = Wide(B);
        var product = new double[outputs, inputs];
        for (int i = 0; i < outputs; i++)
        {
            for (int j = 0; j < inputs; j++)
                product[i, j] = Dot(r => b[i * rank + r], r => a[r * inputs + j], rank);
        }

        return product;

        double[] Wide(string name)
        {
            using var wide = new MemorySink();
            new FedAvgAggregator().AggregateAsync(
                new AggregationRound(model, new RoundOptions { OutputDType = DType.F64 }) { ClientUpdate.FromTensors("a", model) }, wide)
                .GetAwaiter().GetResult();
            return wide.Model.ToArray<double>(name);
        }
    }

    private static double Dot(Func<int, double> x, Func<int, double> y, int count) => Enumerable.Range(0, count).Sum(i => x(i) * y(i));
}
