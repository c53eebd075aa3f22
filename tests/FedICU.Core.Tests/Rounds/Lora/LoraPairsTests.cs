using System.Text;
using FedICU.Files.Adapters;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Tests.Files;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Rounds;

/// <summary>The tensors that form LoRA pairs, and their scaling (docs/algorithms.md, LoRA adapters: pairs).</summary>
internal sealed class LoraPairsTests
{
    private const string M = "base_model.model.model.layers.0.self_attn.q_proj";

    private static readonly TestCaseData[] ByNameAndShape =
    [
        new TestCaseData("m", 2L, "m.lora_A.weight 2,6", "m.lora_B.weight 5,2").SetArgDisplayNames("as PEFT saves it"),
        new TestCaseData("m", 2L, "m.lora_A.default.weight 2,6", "m.lora_B.default.weight 5,2")
            .SetArgDisplayNames("as a state dict has it"),
        new TestCaseData("m", 2L, "m.lora_A 2,6", "m.lora_B 5,2").SetArgDisplayNames("loralib"),
        new TestCaseData("m", 2L, "m.lora_A.default 2,6", "m.lora_B.default 5,2").SetArgDisplayNames("a parameter dictionary"),
        new TestCaseData("", 2L, "lora_A.weight 2,6", "lora_B.weight 5,2").SetArgDisplayNames("without a module"),
        new TestCaseData("m", 2L, "m.lora_embedding_A 2,100", "m.lora_embedding_B 5,2").SetArgDisplayNames("embedding"),
        new TestCaseData("m", 2L, "m.lora_embedding_A.default 2,100", "m.lora_embedding_B.default 5,2")
            .SetArgDisplayNames("embedding of a state dict"),
        new TestCaseData("m", 2L, "m.lora_A.weight 2,6,3", "m.lora_B.weight 5,2,1").SetArgDisplayNames("1-D convolution"),
        new TestCaseData("m", 2L, "m.lora_A.weight 2,6,3,3", "m.lora_B.weight 5,2,1,1").SetArgDisplayNames("2-D convolution"),
        new TestCaseData("m", 2L, "m.lora_A.weight 2,6,3,3,3", "m.lora_B.weight 5,2,1,1,1").SetArgDisplayNames("3-D convolution"),
        new TestCaseData("m", 8L, "m.lora_A.weight 8,3", "m.lora_B.weight 2,8").SetArgDisplayNames("rank above inputs and outputs"),
        new TestCaseData("m", 2L, "m.lora_A.weight 2,6", "m.lora_B.weight 5,2", "m.lora_B.bias 5").SetArgDisplayNames("lora_bias"),
        new TestCaseData("m", 2L, "m.lora_A.weight 2,6", "m.lora_B.weight 5,2", "m.base_layer.bias 5", "m.ranknum 1")
            .SetArgDisplayNames("other tensors of the module"),
        new TestCaseData("lora_unet_x", 2L, "lora_unet_x.lora_down.weight 2,6", "lora_unet_x.lora_up.weight 5,2")
            .SetArgDisplayNames("kohya"),
        new TestCaseData("lora_unet_x", 2L, "lora_unet_x.lora_up.weight 5,2,1,1", "lora_unet_x.alpha ",
            "lora_unet_x.lora_down.weight 2,6,3,3").SetArgDisplayNames("kohya's convolution"),
        new TestCaseData("m", 2L, "m.lora_A.lora_x.weight 2,6", "m.lora_B.lora_x.weight 5,2")
            .SetArgDisplayNames("an adapter called lora_x"),
    ];

    private static readonly TestCaseData[] NoPair =
    [
        new TestCaseData("DoRA: lora_magnitude_vector", "m.lora_A.weight 2,6", "m.lora_B.weight 5,2", "m.lora_magnitude_vector 5"),
        new TestCaseData("DoRA: lora_magnitude_vector", "m.lora_A.default.weight 2,6", "m.lora_B.default.weight 5,2",
            "m.lora_magnitude_vector.default.weight 5"),
        new TestCaseData("DoRA: dora_scale", "m.lora_down.weight 2,6", "m.lora_up.weight 5,2", "m.dora_scale 5,1"),
        new TestCaseData("AdaLoRA: lora_E", "m.lora_A 2,6", "m.lora_B 5,2", "m.lora_E 2,1"),
        new TestCaseData("KaSA: lora_diag", "m.lora_A.weight 2,6", "m.lora_B.weight 5,2", "m.lora_diag 2"),
        new TestCaseData("lora_mid.weight beside them", "m.lora_down.weight 2,6,1,1", "m.lora_up.weight 5,2,1,1",
            "m.lora_mid.weight 2,2,3,3"),
        new TestCaseData("lora_new beside them", "m.lora_A.weight 2,6", "m.lora_B.weight 5,2", "m.lora_new 5"),
        new TestCaseData("lora_A.bias beside them", "m.lora_A.weight 2,6", "m.lora_B.weight 5,2", "m.lora_A.bias 2"),
        new TestCaseData("lora_A.weight.absmax beside them", "m.lora_A.weight 2,6", "m.lora_B.weight 5,2", "m.lora_A.weight.absmax 2"),
        new TestCaseData("lora_B is missing", "m.lora_A.weight 2,6"),
        new TestCaseData("lora_A is missing", "m.lora_B.weight 5,2"),
        new TestCaseData("lora_down is missing", "m.lora_up.weight 5,2"),
        new TestCaseData("the shapes [2, 6] and [5, 3]", "m.lora_A.weight 2,6", "m.lora_B.weight 5,3"),
        new TestCaseData("the shapes [6] and [5, 6]", "m.lora_A.weight 6", "m.lora_B.weight 5,6"),
        // a grouped convolution: B sees rank / groups channels
        new TestCaseData("the shapes [4, 6, 3, 3] and [8, 2, 1, 1]", "m.lora_A.weight 4,6,3,3", "m.lora_B.weight 8,2,1,1"),
        new TestCaseData("the shapes [2, 6, 1, 1] and [5, 2, 3, 3]", "m.lora_A.weight 2,6,1,1", "m.lora_B.weight 5,2,3,3"),
        new TestCaseData("the shapes [0, 6] and [5, 0]", "m.lora_A.weight 0,6", "m.lora_B.weight 5,0"),
        new TestCaseData("the shapes [2, 0] and [5, 2]", "m.lora_A.weight 2,0", "m.lora_B.weight 5,2"),
        new TestCaseData("target_parameters", "mlp.experts.lora_A.weight 8,6", "mlp.experts.lora_B.weight 5,8"),
        new TestCaseData("target_parameters", "x.base_layer.lora_A.weight 8,6", "x.base_layer.lora_B.weight 5,8"),
    ];

    [TestCaseSource(nameof(ByNameAndShape))]
    public void NamesAndShapesMakeAPairWithoutAConfiguration(string module, long rank, params string[] tensors)
    {
        var pairs = LoraPairs.Find(Model(tensors), null);
        LoraPair pair = pairs.All.Single();
        Assert.That((pair.Module, pair.Rank), Is.EqualTo((module, rank)));
        Assert.That(pair.Inputs * rank, Is.EqualTo(pair.A.ElementCount));
        Assert.That(pair.Outputs * rank, Is.EqualTo(pair.B.ElementCount));
        Assert.That(pairs.Others, Is.Empty);
        Assert.That(pairs.DescribeOthers(), Is.Null);
    }

    [TestCaseSource(nameof(NoPair))]
    public void FactorsWithoutAProductAreNoPairAndAreNoted(string reason, params string[] tensors)
    {
        var pairs = LoraPairs.Find(Model(tensors), null);
        Assert.That(pairs.All, Is.Empty);
        Assert.That(pairs.Others.Select(other => other.Reason), Is.EqualTo(new[] { reason }));
        Assert.That(pairs.DescribeOthers(), Does.Contain($"'{pairs.Others[0].Module}' ({reason})"));
    }

    [Test]
    public void IntegersAreNoFactors() => Assert.That(
        LoraPairs.Find(new ArrayModel([Tensor("m.lora_A.weight", DType.I8, 2, 6), Tensor("m.lora_B.weight", DType.F32, 5, 2)]),
            null).Others,
        Is.EqualTo(new[] { ("m", "the types I8 and F32") }));

    [Test]
    public void FactorsMayDifferInType() => Assert.That(
        LoraPairs.Find(new ArrayModel([Tensor("m.lora_A.weight", DType.BF16, 2, 6), Tensor("m.lora_B.weight", DType.F32, 5, 2)]), null).All,
        Has.Count.EqualTo(1));

    [TestCase("full.weight"), TestCase("xlora_A.weight"), TestCase("m.vera_lambda_b"), TestCase("m.hada_w1_a"),
        TestCase("activation.alpha"), TestCase("m.poly_lora_A")]
    public void OtherNamesAreIgnored(string name)
    {
        var pairs = LoraPairs.Find(Model($"{name} 2,2", "m.bias 2"), null);
        Assert.That((pairs.All.Count, pairs.Others.Count), Is.EqualTo((0, 0)));
    }

    [Test]
    public void TwoAdaptersOfAModuleAreTwoPairs() => Assert.That(
        LoraPairs.Find(Model("m.lora_A.x.weight 2,6", "m.lora_B.x.weight 5,2", "m.lora_A.y.weight 3,6", "m.lora_B.y.weight 5,3"),
            null).All.Select(pair => pair.Rank),
        Is.EqualTo(new[] { 2L, 3L }));

    [TestCase("""{"peft_type": "LORA", "r": 2, "lora_alpha": 8}""", 4.0)]
    [TestCase("""{"r": 2}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "use_rslora": true}""", 5.65685424949238)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "fan_in_fan_out": true, "bias": "all", "lora_bias": true}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "alpha_pattern": {"q_proj": 3}}""", 1.5)]
    [TestCase("""{"peft_type": "LORA", "r": 8, "rank_pattern": {"q_proj": 2}}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 8, "rank_pattern": {"k_proj": 4, "layers.0.self_attn.q_proj": 2}}""", 4.0)]
    // PEFT's prefix is not part of the name, and the first pattern that matches decides
    [TestCase("""{"peft_type": "LORA", "r": 8, "rank_pattern": {"^model\\.layers\\.\\d+\\.self_attn\\.[qk]_proj": 2, "q_proj": 4}}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 8, "rank_pattern": {"proj": 4, "self_attn.q.proj": 2}}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 8, "rank_pattern": {"k_proj|q_proj": 2}}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "init_lora_weights": "pissa_niter_4"}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}""", 4.0)]
    [TestCase(
        """{"peft_type": "LORA", "r": 2, "init_lora_weights": "eva", "layer_replication": [[0, 4], [2, 5]],""" +
        """ "trainable_token_indices": [1]}""", 4.0)]
    [TestCase(
        """{"peft_type": "LORA", "r": 2, "modules_to_save": ["lm_head"], "alora_invocation_tokens": [1, 2],""" +
        """ "use_dora": false, "kasa_config": null}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "target_parameters": ["mlp.experts.down_proj"]}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "target_parameters": []}""", 4.0)]
    [TestCase("""{"peft_type": "LORA", "r": 2, "alpha_pattern": {"(unclosed": 3}}""", null)]
    public void PlainLoraIsAPairWithItsScaling(string config, double? scaling)
    {
        LoraPair pair = LoraPairs.Find(Model(M + ".lora_A.weight 2,6", M + ".lora_B.weight 5,2"), Config(config)).All.Single();
        Assert.That(pair.Scaling, scaling is null ? Is.Null : Is.EqualTo(scaling).Within(1e-14));
    }

    [TestCase("""{"peft_type": "ADALORA", "r": 2}""", "peft_type ADALORA")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "use_dora": true}""", "DoRA")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "kasa_config": {"beta": 0.1}}""", "KaSA")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "use_bdlora": {"nblocks": 2}}""", "BD-LoRA")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "use_qalora": true}""", "QA-LoRA")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "monteclora_config": {"num_samples": 8}}""", "MonteCLoRA")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "arrow_config": {"top_k": 3}}""", "Arrow")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "init_lora_weights": "mica"}""", "MiCA")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "target_parameters": ["self_attn.q_proj.weight"]}""", "target_parameters")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "target_parameters": ["model.layers.0.self_attn.q_proj.weight"]}""", "target_parameters")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "target_parameters": ["weight"]}""", "target_parameters")]
    // four experts of rank 2 would have factors of these shapes
    [TestCase("""{"peft_type": "LORA", "r": 1}""", "rank 2, but 1 in adapter_config.json")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "rank_pattern": {"q_proj": 3}}""", "rank 2, but 3 in adapter_config.json")]
    [TestCase("""{"peft_type": "LORA", "r": 2, "rank_pattern": {"(unclosed": 2}}""", "a rank_pattern that cannot be read")]
    public void OtherConfigurationsMakeNoPair(string config, string reason)
    {
        var pairs = LoraPairs.Find(Model(M + ".lora_A.weight 2,6", M + ".lora_B.weight 5,2"), Config(config));
        Assert.That(pairs.All, Is.Empty);
        Assert.That(pairs.Others, Is.EqualTo(new[] { (M, reason) }));
    }

    [Test]
    public void OnlyTheModulesOfTargetParametersAreNoPairs()
    {
        const string Experts = "base_model.model.model.layers.0.mlp.experts";
        var pairs = LoraPairs.Find(
            Model(M + ".lora_A.weight 2,6", M + ".lora_B.weight 5,2", Experts + ".lora_A.weight 8,6", Experts + ".lora_B.weight 5,8",
                Experts + ".base_layer.lora_A.weight 8,5", Experts + ".base_layer.lora_B.weight 6,8"),
            Config("""
                {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"],
                 "target_parameters": ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]}
                """));
        Assert.That(pairs.All.Select(pair => pair.Module), Is.EqualTo(new[] { M }));
        Assert.That(pairs.Others, Is.EqualTo(new[] { (Experts, "target_parameters"), (Experts + ".base_layer", "target_parameters") }));
    }

    [Test]
    public void KohyasAlphaGivesTheScaling(
        [Values(DType.F64, DType.F32, DType.F16, DType.BF16, DType.I64)] DType dtype, [Values(0, 1)] int dimensions)
    {
        long[] shape = dimensions == 0 ? [] : [1];
        using var model = new MemoryModel { { "x.lora_down.weight", [4, 6], new float[24] },
            { "x.lora_up.weight", [5, 4], new float[20] } };
        if (dtype == DType.I64)
        {
            model.Add("x.alpha", shape, new long[] { 2 });
        }
        else
        {
            (TensorInfo info, byte[] bytes) = Models.Tensor("x.alpha", dtype, shape, _ => 2);
            model.Add(info, bytes);
        }

        Assert.That(LoraPairs.Find(model, null).All.Single().Scaling, Is.EqualTo(0.5));
    }

    [Test]
    public void ANoteNamesTheFirstAndCountsTheRest()
    {
        string[] tensors = [.. Enumerable.Range(0, 9)
            .SelectMany(i => (string[])[$"m{i}.lora_A.weight 2,6", $"m{i}.lora_B.weight 5,2", $"m{i}.lora_E 2,1"])];
        Assert.That(LoraPairs.Find(Model(tensors), null).DescribeOthers(), Is.EqualTo(
            "The factors of 'm0' (AdaLoRA: lora_E), 'm1' (AdaLoRA: lora_E), 'm2' (AdaLoRA: lora_E) and 6 more modules " +
            "form no product B A: " +
            "each was averaged by itself, was not balanced and has no cross-term."));
    }

    /// <summary>
    /// Patterns match as in PEFT's get_pattern_key, (.*\.)?(key)$: at the end of the name, after a dot or from its
    /// start.
    /// </summary>
    [TestCase("q_proj", "m.q_proj", true), TestCase("q_proj", "q_proj", true), TestCase("q_proj", "m.xq_proj", false),
        TestCase("q_proj", "m.q_proj.x", false)]
    [TestCase("q.proj", "m.q_proj", true), TestCase("a.b", "x.a.b", true), TestCase("a.b", "x.aac", false), TestCase("a.b", "xa.b", false),
        TestCase("q_proj", "proj", false)]
    [TestCase(@"layers\.[0-3]\.q_proj", "model.layers.2.q_proj", true), TestCase(@"layers\.[0-3]\.q_proj", "model.layers.7.q_proj", false)]
    [TestCase("^q_proj", "q_proj", true), TestCase("^q_proj", "m.q_proj", false), TestCase(".*proj", "m.o_proj", true),
        TestCase("(a|b).q", "m.b.q", true)]
    public void PatternsMatchAsInPeft(string pattern, string module, bool matches)
    {
        var patterns = new ModulePatterns<int>([new("never", 1), new(pattern, 2), new(".*", 3)]);
        Assert.That(patterns.TryFind(module, out int? value), Is.True);
        Assert.That(value, Is.EqualTo(matches ? 2 : 3));
    }

    /// <summary>A backtracking matcher would take years.</summary>
    [Test, CancelAfter(20_000)]
    public void PatternsOfClientsAreMatchedInLinearTime()
    {
        var patterns = new ModulePatterns<int>([new("(a*)*b", 2)]);
        Assert.That(patterns.TryFind(new string('a', 100_000), out int? value), Is.True);
        Assert.That(value, Is.Null);
    }

    private static PeftAdapterConfig Config(string json) => PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(json), "memory");

    /// <summary>Creates F32 tensors from names and shapes such as "name 2,6".</summary>
    private static ArrayModel Model(params string[] tensors) => new([.. tensors.Select(tensor => tensor.Split(' ')).Select(parts =>
        Tensor(parts[0], DType.F32, parts.Length < 2 || parts[1].Length == 0 ? [] : [.. parts[1].Split(',').Select(long.Parse)]))]);
}
