using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>FedEx-LoRA's base and residual, and adapters that are fused into a base model or cut to a rank.</summary>
internal sealed class AdapterFusionTests
{
    private TempFolder _place = null!;

    [SetUp]
    public void SetUp() => _place = new TempFolder();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void FedExLorasBaseAndResidualMatchTheGoldenOnes()
    {
        string folder = Golden.RoundFolder(Path.Combine("family", "fedex-lora"));
        var golden = new FamilyCase(folder);
        using TensorSource global = TensorSource.Open(golden.Global);
        var options = new FedExLoraOptions
        {
            Base = Path.Combine(folder, "base.safetensors"),
            BaseOutput = _place["base.safetensors"],
            ResidualOutput = _place["residual"],
        };
        var round = new AggregationRound(global);
        foreach (string client in golden.Clients)
            round.Add(ClientUpdate.FromFile(Path.GetFileName(client), client));
        RoundReport report =
            new FedExLoraAggregator(options).AggregateAsync(round, TensorSink.To(_place["next"], global)).GetAwaiter().GetResult().Report;
        using TensorSource next = TensorSource.Open(_place["next"]), truth = TensorSource.Open(golden.Result);
        Golden.Compare(next, truth);
        using TensorSource fused = TensorSource.Open(_place["base.safetensors"]);
        using TensorSource fusedTruth = TensorSource.Open(Path.Combine(folder, "expected-base.safetensors"));
        Golden.Compare(fused, fusedTruth);
        using PeftAdapter residual = PeftAdapter.Open(_place["residual"]);
        using TensorSource residualTruth = TensorSource.Open(Path.Combine(folder, "expected-residual-factors.safetensors"));
        Golden.Compare(residual, residualTruth);
        Assert.That((residual.Config.Rank, residual.Config.LoraAlpha), Is.EqualTo((16, 16.0)));
        double[] norms = [.. report.LoraPairs.Select(pair => pair.Error!.Value)];
        Assert.That(norms, Is.EqualTo(new[] { 1.229268793473385, 1.1066583869989381 }).Within(1e-12));
    }

    [Test]
    public void ARefusedRoundWritesNeitherBaseNorResidual()
    {
        LoraClient global = new(new double[4], new double[4], 2, 1);
        new MemoryModel { { "other.weight", [2, 2], new double[4] } }.SaveTo(TensorSink.ToFile(_place["base.safetensors"]));
        Assert.That(
            () => LoraClient.Run(
                "fedex-lora", [global with { A = [1, 2, 3, 4] }], global, $"base={_place["base.safetensors"]}",
                $"base-output={_place["new.safetensors"]}", $"residual-output={_place["residual"]}"),
            Throws.InstanceOf<FedIcuException>().With.Message.Contain("has no weight for the LoRA pair"));
        Assert.That(Directory.Exists(_place["residual"]) || File.Exists(_place["new.safetensors"]), Is.False);
    }

    [TestCase(false, DType.F64)]
    [TestCase(true, DType.F64)]
    [TestCase(false, DType.BF16)]
    public void AnAdapterIsFused(bool transposed, DType dtype)
    {
        var adapter = new LoraClient([1, 2, 3, 4, 5, 6], [1, 0, 0, 1, 2, 2, 1, 1], 4, 1) { Inputs = 3 };
        double[] product = Dense.Product(adapter.A, adapter.B, 2, 2);
        using var model = new MemoryModel();
        // 4 outputs and 3 inputs; a layer of the other shape holds the transpose
        (TensorInfo info, byte[] bytes) = Models.Tensor("layer.weight", dtype, transposed ? [3, 4] : [4, 3], i => i);
        model.Add(info, bytes);
        model.Add("norm.weight", [2], new float[] { 1, 2 });
        using TensorSource opened = TensorSource.Open(adapter.Save(_place["adapter"]));
        using var sink = new MemorySink();
        FusionReport report = AdapterFusion.Fuse(model, opened, sink, new FusionOptions { Scale = .5 });
        double[] expected = [.. Enumerable.Range(0, 12).Select(i =>
            i + .5 * (transposed ? product[i % 4 * 3 + i / 4] : product[i]))];
        double[] rounded = [.. expected.Select(value => Models.ToDoubles(Models.Tensor("x", dtype, [1], _ => value).Bytes,
            new TensorInfo("x", dtype, new TensorShape(1)))[0])];
        Assert.That(Models.ToDoubles(sink.Model, "layer.weight"), Is.EqualTo(rounded));
        Assert.That(sink.Model.ToArray<float>("norm.weight"), Is.EqualTo(new float[] { 1, 2 }));
        Assert.That(report.Fused, Is.EqualTo(new[] { "layer.weight" }));
    }

    [Test]
    public void SavedModulesAndTiedHeadsAreHonoured()
    {
        using var adapter = new MemoryModel
        {
            { "base_model.model.lm_head.lora_A.weight", [1, 2], new double[] { 1, 2 } },
            { "base_model.model.lm_head.lora_B.weight", [3, 1], new double[] { 1, 1, 1 } },
            { "base_model.model.score.weight", [2], new double[] { 7, 8 } },
        };
        using var model = new MemoryModel
        {
            { "model.embed_tokens.weight", [3, 2], new double[] { 1, 2, 3, 4, 5, 6 } }, { "score.weight", [2], new double[] { 0, 0 } },
        };
        using var sink = new MemorySink();
        FusionReport report = AdapterFusion.Fuse(model, adapter, sink, new FusionOptions { LoraScaling = 1 });
        Assert.That(sink.Model.ToArray<double>("lm_head.weight"), Is.EqualTo(new double[] { 2, 4, 4, 6, 6, 8 }));
        Assert.That(sink.Model.ToArray<double>("model.embed_tokens.weight"), Is.EqualTo(new double[] { 1, 2, 3, 4, 5, 6 }));
        Assert.That(sink.Model.ToArray<double>("score.weight"), Is.EqualTo(new double[] { 7, 8 }));
        Assert.That((report.Added.Single(), report.Replaced.Single()), Is.EqualTo(("lm_head.weight", "score.weight")));
    }

    // an embedding's weight holds the transpose; a convolution's factors are matrices once flattened; kohya's names
    // have underscores
    [TestCase("embed.weight", new long[] { 3, 2 }, "base_model.model.embed.lora_embedding_A", new long[] { 1, 3 },
        "base_model.model.embed.lora_embedding_B", new long[] { 2, 1 }, new double[] { 1, 2, 2, 4, 3, 6 })]
    [TestCase("conv.weight", new long[] { 2, 1, 1, 3 }, "base_model.model.conv.lora_A.weight", new long[] { 1, 1, 1, 3 },
        "base_model.model.conv.lora_B.weight", new long[] { 2, 1, 1, 1 }, new double[] { 1, 2, 3, 2, 4, 6 })]
    [TestCase("down.blocks.0.to_q.weight", new long[] { 2, 3 }, "lora_unet_down_blocks_0_to_q.lora_down.weight", new long[] { 1, 3 },
        "lora_unet_down_blocks_0_to_q.lora_up.weight", new long[] { 2, 1 }, new double[] { 1, 2, 3, 2, 4, 6 })]
    public void OtherLayoutsAreFused(
        string weight, long[] shape, string nameOfA, long[] shapeOfA, string nameOfB, long[] shapeOfB, double[] expected)
    {
        using MemoryModel model = Models.Of64(weight, shape, new double[6]);
        using var adapter = new MemoryModel
        {
            { nameOfA, shapeOfA, new double[] { 1, 2, 3 } }, { nameOfB, shapeOfB, new double[] { 1, 2 } },
        };
        using var sink = new MemorySink();
        AdapterFusion.Fuse(model, adapter, sink, new FusionOptions { LoraScaling = 1 });
        Assert.That(sink.Model.ToArray<double>(weight), Is.EqualTo(expected));
    }

    [TestCase("layer.weight", new long[] { 5, 3 }, "4 outputs and 3 inputs was expected")]
    [TestCase("other.weight", new long[] { 4, 3 }, "has no weight for the LoRA pair")]
    public void ABaseOfAnotherModelIsRefused(string name, long[] shape, string expected)
    {
        using MemoryModel model = Models.Of64(name, shape, new double[shape[0] * shape[1]]);
        using TensorSource adapter = TensorSource.Open(
            new LoraClient([1, 2, 3, 4, 5, 6], [1, 0, 0, 1, 2, 2, 1, 1], 4, 1) { Inputs = 3 }.Save(_place["adapter"]));
        using var sink = new MemorySink();
        Assert.That(() => AdapterFusion.Fuse(model, adapter, sink), Throws.InstanceOf<FedIcuException>().With.Message.Contain(expected));
        Assert.That(() => sink.Model, Throws.InvalidOperationException);
    }

    // the configurations of which PEFT's merge is not W + s B A, and the initializations that change the base model
    [TestCase("\"alora_invocation_tokens\": [1, 2]", "alora_invocation_tokens")]
    [TestCase("\"layer_replication\": [[0, 2], [1, 3]]", "layer_replication")]
    [TestCase("\"init_lora_weights\": \"pissa\"", "init_lora_weights pissa")]
    [TestCase("\"init_lora_weights\": \"pissa_niter_16\"", "init_lora_weights pissa_niter_16")]
    [TestCase("\"init_lora_weights\": \"OLoRA\"", "init_lora_weights OLoRA")]
    [TestCase("\"init_lora_weights\": \"corda\"", "init_lora_weights corda")]
    [TestCase("\"init_lora_weights\": \"loftq\"", "init_lora_weights loftq")]
    [TestCase("\"init_lora_weights\": \"lora_ga\"", "init_lora_weights lora_ga")]
    [TestCase("\"use_dora\": true", "DoRA")]
    [TestCase("\"init_lora_weights\": \"eva\"", null)]
    [TestCase("\"init_lora_weights\": \"orthogonal\"", null)]
    [TestCase("\"init_lora_weights\": true, \"alora_invocation_tokens\": null, \"layer_replication\": []", null)]
    public void OnlyAnAdapterOfTheBaseModelsOwnWeightsIsFused(string field, string? refused)
    {
        var factors = new LoraClient([1, 2], [3, 4], 1, 1) { ConfigFields = field };
        using MemoryModel model = Models.Of64("layer.weight", [2, 2], new double[4]), adapter = factors.ToModel();
        using var sink = new MemorySink();
        model.SaveTo(TensorSink.ToFile(_place["base.safetensors"]));
        string[] options = [$"base={_place["base.safetensors"]}", $"base-output={_place["new.safetensors"]}"];
        void Fuse() => AdapterFusion.Fuse(model, adapter, sink);
        void Aggregate() => LoraClient.Run("fedex-lora", [factors], factors, options);
        foreach (Action run in (Action[])[Fuse, Aggregate])
        {
            if (refused is null)
                Assert.That(run, Throws.Nothing);
            else
                Assert.That(run, Throws.InstanceOf<FedIcuException>().With.Message.Contain(refused));
        }

        Assert.That(File.Exists(_place["new.safetensors"]), Is.EqualTo(refused is null));
    }

    // lora_bias and trainable_token_indices have tensors beside A and B that are no part of W + s B A
    [TestCase("base_model.model.layer.lora_B.bias")]
    [TestCase("base_model.model.embed.token_adapter.trainable_tokens_delta")]
    public void ATensorWithoutAPlaceIsRefused(string name)
    {
        using MemoryModel adapter = OnePair("base_model.model.layer"), model = Models.Of64("layer.weight", [2, 2], new double[4]);
        adapter.Add(name, [2], new double[] { 1, 2 });
        model.Add("layer.bias", [2], new double[2]);
        Refuse(model, adapter, new FusionOptions { LoraScaling = 1 }, name);
    }

    [Test]
    public void AnIntegerTensorOfTheBaseIsNotReplacedByFloats()
    {
        using MemoryModel adapter = OnePair("layer");
        adapter.Add("ids", [2], new float[] { 1, 2 });
        using MemoryModel model = Models.Of64("layer.weight", [2, 2], new double[4]);
        model.Add("ids", [2], new long[] { 1, 2 });
        Refuse(model, adapter, new FusionOptions { LoraScaling = 1 }, "'ids' of F32 [2] has no place in the base model");
    }

    [Test]
    public void TwoTensorsForOnePlaceAreRefused()
    {
        using MemoryModel adapter = OnePair("layer");
        adapter.Add("norm.weight", [1], new double[] { 1 });
        adapter.Add("base_model.model.norm.weight", [1], new double[] { 2 });
        using MemoryModel model = Models.Of64("layer.weight", [2, 2], new double[4]);
        model.Add("norm.weight", [1], new double[] { 0 });
        Refuse(
            model, adapter, new FusionOptions { LoraScaling = 1 },
            "'norm.weight' and 'base_model.model.norm.weight' both replace the base model's 'norm.weight'");
    }

    [Test]
    public void AKohyaNameOfTwoWeightsIsRefused()
    {
        using var adapter = new MemoryModel
        {
            { "lora_unet_a_b_c.lora_down.weight", [1, 2], new double[] { 1, 2 } },
            { "lora_unet_a_b_c.lora_up.weight", [2, 1], new double[] { 1, 2 } },
        };
        using MemoryModel model = Models.Of64("a.b_c.weight", [2, 2], new double[4]);
        model.Add("a_b.c.weight", [2, 2], new double[4]);
        Refuse(
            model, adapter, new FusionOptions { LoraScaling = 1 },
            "'lora_unet_a_b_c' may change the base model's 'a.b_c.weight' or 'a_b.c.weight'");
    }

    [TestCase(1e308, 1, "'layer.lora_A.weight' is not finite with the scaling 1E+308; a smaller scale (--scale) was expected")]
    [TestCase(1e200, 1e200, "has the scaling 1E+200, which is too large for the factor 1E+200")]
    [TestCase(double.NaN, 1, "scale is NaN; a finite number was expected")]
    [TestCase(1, double.NaN, "lora-scaling is NaN; a finite number other than 0 was expected")]
    [TestCase(1, 0, "lora-scaling is 0; a finite number other than 0 was expected")]
    public void AScaleThatCannotBeAppliedIsNamed(double scale, double scaling, string sentence)
    {
        using MemoryModel adapter = OnePair("layer"), model = Models.Of64("layer.weight", [2, 2], new double[4]);
        Refuse(model, adapter, new FusionOptions { Scale = scale, LoraScaling = scaling }, sentence);
    }

    [Test]
    public void AnAdapterIsCutToARank()
    {
        var random = new Random(2);
        var adapter = new LoraClient(
            [.. Enumerable.Range(0, 40).Select(_ => random.NextDouble())],
            [.. Enumerable.Range(0, 36).Select(_ => random.NextDouble())], 8, 1)
        {
            Inputs = 10,
        };
        using TensorSource opened = TensorSource.Open(adapter.Save(_place["adapter"]));
        RoundReport report = AdapterCut.CutAsync(opened, 2, TensorSink.To(_place["small"], opened)).GetAwaiter().GetResult().Report;
        using PeftAdapter small = PeftAdapter.Open(_place["small"]);
        Assert.That((small.Config.Rank, small.Config.LoraAlpha), Is.EqualTo((2, 8.0)));
        double[] a = Models.ToDoubles(small, LoraClient.Module + ".lora_A.weight");
        double[] b = Models.ToDoubles(small, LoraClient.Module + ".lora_B.weight");
        double[] whole = Dense.Product(adapter.A, adapter.B, 4, 2);
        double error = Dense.Distance(Dense.Product(a, b, 2, 4), whole);
        Assert.That(report.LoraPairs.Single().Error, Is.EqualTo(error).Within(1e-13));
        Assert.That(error, Is.GreaterThan(0).And.LessThan(Dense.Norm(whole)));
    }

    private static MemoryModel OnePair(string module) => new()
    {
        { module + ".lora_A.weight", [1, 2], new double[] { 3, 4 } }, { module + ".lora_B.weight", [2, 1], new double[] { 1, 2 } },
    };

    private static void Refuse(MemoryModel model, MemoryModel adapter, FusionOptions options, string sentence)
    {
        using var sink = new MemorySink();
        Assert.That(
            () => AdapterFusion.Fuse(model, adapter, sink, options), Throws.InstanceOf<FedIcuException>().With.Message.Contain(sentence));
        Assert.That(() => sink.Model, Throws.InvalidOperationException);
    }
}
