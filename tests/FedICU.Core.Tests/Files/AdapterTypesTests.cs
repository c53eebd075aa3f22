using System.Text;
using FedICU.Files;

namespace FedICU.Tests.Files;

/// <summary>
/// Configurations of all adapter types: the fields that decide for each type, and the rules that apply to LoRA only
/// (docs/algorithms.md, Adapter configurations).
/// </summary>
internal sealed class AdapterTypesTests
{
    private const string Long = "1234567890123456789012345678901234567890";

    [TestCase("LOHA", "\"alpha\": 8", "\"alpha\": 32", "alpha 8 against 32")]
    [TestCase("LOHA", "", "\"alpha\": 32", "alpha 8 against 32")]
    [TestCase("LOHA", "\"r\": 4", "", "r 4 against 8")]
    [TestCase("LOHA", "", "\"use_effective_conv2d\": true", "use_effective_conv2d false against true")]
    [TestCase("LOHA", "\"alpha_pattern\": {\"a\": 1}", "\"alpha_pattern\": {\"a\": 2}", "alpha_pattern {'a': 1} against {'a': 2}")]
    [TestCase("LOKR", "\"decompose_factor\": 4", "", "decompose_factor 4 against -1")]
    [TestCase("LOKR", "\"decompose_both\": true", "\"decompose_both\": false", "decompose_both true against false")]
    [TestCase("ADALORA", "\"init_r\": 6", "", "init_r 6 against 12")]
    [TestCase("ADALORA", "\"rank_pattern\": {\"x\": [true, false]}", "\"rank_pattern\": {\"x\": [false, true]}",
        "rank_pattern {'x': [true, false]} against {'x': [false, true]}")]
    [TestCase("VERA", "\"projection_prng_key\": 1", "", "projection_prng_key 1 against 0")]
    [TestCase("VERA", "\"save_projection\": false", "", "save_projection false against true")]
    [TestCase("VERA", "\"d_initial\": 0.2", "", "d_initial 0.2 against 0.1")]
    [TestCase("OFT", "\"r\": 8, \"oft_block_size\": 0", "", "r 8 against 0")]
    [TestCase("OFT", "\"coft\": true", "", "coft true against false")]
    [TestCase("OFT", "\"eps\": 0.0001", "\"eps\": 1e-4", null)]
    [TestCase("BOFT", "\"boft_n_butterfly_factor\": 2", "", "boft_n_butterfly_factor 2 against 1")]
    [TestCase("IA3", "\"feedforward_modules\": [\"a\", \"b\"]", "\"feedforward_modules\": [\"b\"]",
        "feedforward_modules ['a', 'b'] against ['b']")]
    [TestCase("IA3", "\"feedforward_modules\": [\"a\", \"b\"]", "\"feedforward_modules\": [\"b\", \"a\"]", null)]
    [TestCase("PROMPT_TUNING", "\"num_virtual_tokens\": 8", "\"num_virtual_tokens\": 9", "num_virtual_tokens 8 against 9")]
    [TestCase("PROMPT_TUNING", "\"tokenizer_name_or_path\": \"/a\"", "\"tokenizer_name_or_path\": \"/b\"", null)]
    [TestCase("P_TUNING", "\"encoder_hidden_size\": 8", "\"encoder_hidden_size\": 9", "encoder_hidden_size 8 against 9")]
    [TestCase("PREFIX_TUNING", "\"prefix_projection\": true", "", "prefix_projection true against false")]
    [TestCase("MULTITASK_PROMPT_TUNING", "\"num_tasks\": 3", "", "num_tasks 3 against 1")]
    [TestCase("ADAPTION_PROMPT", "\"adapter_len\": 8", "\"adapter_len\": 9", "adapter_len 8 against 9")]
    [TestCase("LN_TUNING", "\"target_modules\": [\"a\"]", "\"target_modules\": [\"b\"]", "target_modules ['a'] against ['b']")]
    [TestCase("FOURIERFT", "\"random_loc_seed\": 1", "", "random_loc_seed 1 against 777")]
    [TestCase("VBLORA", "\"topk\": 3", "", "topk 3 against 2")]
    [TestCase("HRA", "\"apply_GS\": true", "", "apply_GS true against false")]
    [TestCase("POLY", "\"n_skills\": 2", "", "n_skills 2 against 4")]
    [TestCase("XLORA", "\"top_k_lora\": 2", "", "top_k_lora 2 against null")]
    [TestCase("RANDLORA", "\"randlora_alpha\": 2", "", "randlora_alpha 2 against 640")]
    [TestCase("TRAINABLE_TOKENS", "\"token_indices\": [1, 2]", "\"token_indices\": [2, 1]", "token_indices [1, 2] against [2, 1]")]
    [TestCase("ROAD", "\"variant\": \"road_2\"", "", "variant 'road_2' against 'road_1'")]
    [TestCase("C3A", "\"block_size\": 2", "", "block_size 2 against 256")]
    [TestCase("MISS", "\"init_weights\": \"bat\"", "", "init_weights 'bat' against true")]
    [TestCase("BONE", "\"r\": 32", "", "r 32 against 64")]
    [TestCase("SHIRA", "\"random_seed\": 5", "", "random_seed 5 against null")]
    [TestCase("LORA", "\"target_parameters\": [\"x.w\"]", "", "target_parameters ['x.w'] against null")]
    [TestCase("LORA", "\"layers_to_transform\": [1, 2]", "\"layers_to_transform\": [2, 1]", null)]
    [TestCase("LORA", "\"layers_to_transform\": 1", "\"layers_to_transform\": [1]", null)]
    [TestCase("LORA", "\"layers_to_transform\": 1", "\"layers_to_transform\": [2]", "layers_to_transform 1 against [2]")]
    [TestCase("LORA", "\"layer_replication\": [[0, 4], [2, 5]]", "\"layer_replication\": [[2, 5], [0, 4]]",
        "layer_replication [[0, 4], [2, 5]] against [[2, 5], [0, 4]]")]
    [TestCase("LORA", "\"fan_in_fan_out\": true", "", "fan_in_fan_out true against false")]
    [TestCase("LORA", "\"lora_bias\": true", "", "lora_bias true against false")]
    [TestCase("LORA", "\"exclude_modules\": \"x\"", "", "exclude_modules 'x' against null")]
    [TestCase("LORA", "\"trainable_token_indices\": {\"embed\": [1]}", "", "trainable_token_indices {'embed': [1]} against null")]
    // PiSSA changes the base model's weights, which B A is added to; the other initializations do not.
    [TestCase("LORA", "\"init_lora_weights\": \"pissa\"", "", "init_lora_weights 'pissa' against true")]
    [TestCase("LORA", "\"init_lora_weights\": \"gaussian\"", "\"init_lora_weights\": false", null)]
    [TestCase("LORA", "\"lora_dropout\": 0.1", "\"task_type\": \"CAUSAL_LM\", \"peft_version\": \"0.17\"", null)]
    public void TheFieldsOfEachTypeDecide(string type, string mine, string theirs, string? expected)
    {
        Assert.That(Parse(type, mine).DescribeDisagreement(Parse(type, theirs)), Is.EqualTo(expected));
        Assert.That(Parse(type, mine).DecidingKey() == Parse(type, theirs).DecidingKey(), Is.EqualTo(expected is null));
    }

    [TestCase("\"anything\": 1", "\"anything\": 1.0", null)]
    [TestCase("\"anything\": 1", "\"anything\": 2", "anything 1 against 2")]
    [TestCase("\"anything\": 1", "", "anything 1 against null")]
    [TestCase("", "\"anything\": 1", "anything null against 1")]
    [TestCase("\"anything\": null", "", null)]
    [TestCase("\"anything\": {\"a\": 1, \"b\": [2]}", "\"anything\": {\"b\": [2.0], \"a\": 1}", null)]
    [TestCase("\"anything\": " + Long + "1", "\"anything\": " + Long + "2", "anything " + Long + "1 against " + Long + "2")]
    [TestCase("\"anything\": 1e400", "\"anything\": 2e400", "anything 1e400 against 2e400")]
    [TestCase("\"task_type\": \"A\", \"inference_mode\": true", "\"task_type\": \"B\", \"auto_mapping\": {}", null)]
    [TestCase("\"revision\": \"a\", \"cache_path\": \"x\", \"peft_version\": \"1\"",
        "\"revision\": \"b\", \"cache_path\": \"y\", \"peft_version\": \"2\"", null)]
    [TestCase("\"base_model_name_or_path\": \"a\"", "\"base_model_name_or_path\": \"b\"", "base_model_name_or_path 'a' against 'b'")]
    [TestCase("\"base_model_name_or_path\": \"a/\"", "\"base_model_name_or_path\": \"a\"", null)]
    public void EveryFieldOfAnUnknownTypeDecides(string mine, string theirs, string? expected)
    {
        Assert.That(Parse("NEWEST", mine).DescribeDisagreement(Parse("NEWEST", theirs)), Is.EqualTo(expected));
        Assert.That(Parse("NEWEST", mine).DecidingKey() == Parse("NEWEST", theirs).DecidingKey(), Is.EqualTo(expected is null));
    }

    [Test]
    public void TheTypeIsComparedFirst()
    {
        Assert.That(Parse("LOHA", "\"r\": 4").DescribeDisagreement(Parse("LORA", "\"r\": 8")),
            Is.EqualTo("peft_type 'LOHA' against 'LORA'"));
        Assert.That(PeftAdapterConfig.Parse("{}"u8, "x").DescribeDisagreement(Parse("LORA", "")), Is.Null,
            "without a type it is read as LoRA's");
        Assert.That(PeftAdapterConfig.Parse("{}"u8, "x").DescribeDisagreement(Parse("IA3", "")),
            Is.EqualTo("peft_type null against 'IA3'"));
    }

    [Test]
    public void TheBaseModelsNameIsIgnoredOnRequest()
    {
        PeftAdapterConfig mine = Parse("LORA", "\"base_model_name_or_path\": \"/home/one/base\""),
            theirs = Parse("LORA", "\"base_model_name_or_path\": \"C:\\\\base\"");
        Assert.That(mine.DescribeDisagreement(theirs), Is.EqualTo("base_model_name_or_path '/home/one/base' against 'C:\\\\base'"));
        Assert.That(mine.DescribeDisagreement(theirs, ignoreBase: true), Is.Null);
        Assert.That(mine.DescribeDisagreement(Parse("LORA", "\"r\": 4"), ignoreBase: true), Is.EqualTo("r 8 against 4"));
    }

    [TestCase("OFT", "\"r\": 0")]
    [TestCase("ADALORA", "\"r\": 8, \"rank_pattern\": {\"x.lora_E\": [true, false]}, \"alpha_pattern\": {}")]
    [TestCase("OSF", "\"rank_pattern\": {\"x\": 0.5}")]
    [TestCase("LYCORIS",
        "\"target_modules\": {\"a\": 1}, \"modules_to_save\": [1], \"lora_alpha\": \"auto\", \"r\": 1e400, \"use_dora\": 3")]
    public void TheValueRulesOfLoraDoNotApplyToOtherTypes(string type, string fields)
    {
        PeftAdapterConfig config = Parse(type, fields);
        Assert.That((config.PeftType, config.RankPattern.Count, config.AlphaPattern.Count, config.UseDora),
            Is.EqualTo((type, 0, 0, false)));
        Assert.That(config.DescribeDisagreement(Parse(type, fields + " ")), Is.Null);
        Assert.That(config.TargetModules.Concat(config.ModulesToSave), Is.Empty);
        Assert.That(config.ToString(), Does.StartWith(type + " adapter, "));
    }

    [TestCase("LORA", "\"r\": 4, \"target_modules\": [\"q\", \"k\"], \"use_dora\": true, \"base_model_name_or_path\": \"x\"",
        "LORA adapter, r 4, lora_alpha 8, use_dora, target_modules k, q, base x")]
    [TestCase("LOHA", "\"r\": 4, \"alpha\": 8, \"target_modules\": [\"q\"]",
        "LOHA adapter, r 4, alpha 8, target_modules q, base not stated")]
    [TestCase("ADALORA", "\"r\": 8, \"target_r\": 4, \"init_r\": 6, \"lora_alpha\": 16",
        "ADALORA adapter, init_r 6, target_r 4, lora_alpha 16, base not stated")]
    [TestCase("PROMPT_TUNING", "\"num_virtual_tokens\": 20", "PROMPT_TUNING adapter, num_virtual_tokens 20, base not stated")]
    public void ToStringGivesTheMainFacts(string type, string fields, string expected) =>
        Assert.That(Parse(type, fields).ToString(), Is.EqualTo(expected));

    [Test]
    public void DeepLongAndDuplicateConfigurationsGiveMessages()
    {
        string deep = $"{{\"peft_type\": \"X\", \"a\": {new string('[', 100_000)}{new string(']', 100_000)}}}";
        string doubled = """{"peft_type": "X", "a": {"b": 1, "b": 2}}""";
        foreach (string json in (string[])[deep, doubled, """{"peft_type": "X", "a": "\ud800"}""", """{"peft_type": "X", "\ud800": 1}"""])
            Assert.That(() => PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(json), "c"),
                Throws.TypeOf<InvalidModelException>().With.Message.StartsWith("'c' ").And.Message.Length.LessThan(1000));
        Assert.That(
            () => Parse("LORA", $"\"rank_pattern\": {{{string.Join(", ", Enumerable.Range(0, 70_000).Select(i => $"\"m{i}\": 1"))}}}"),
            Throws.TypeOf<InvalidModelException>().With.Message.EqualTo(
                "'memory' has 70000 entries in rank_pattern and alpha_pattern; at most 65536 were expected."));
    }

    [Test]
    public void AFileOfTenMegabytesIsRejectedUnread()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder["adapter_config.json"], "{\"a\": \"" + new string('x', 10_000_000) + "\"}");
        new MemoryModel { { "w", [1], new float[] { 1 } } }.SaveTo(TensorSink.ToFile(folder["adapter_model.safetensors"]));
        Assert.That(() => PeftAdapter.Open(folder.FullName),
            Throws.TypeOf<InvalidModelException>().With.Message.Contains("above the limit of 4000000"));
    }

    [Test]
    public void EqualConfigurationsOfARoundAreShared()
    {
        var files = new RoundFiles();
        byte[] one = """{"r": 4}"""u8.ToArray(), other = """{"r": 5}"""u8.ToArray();
        PeftAdapterConfig first = files.ShareConfig(one, "a");
        Assert.That(files.ShareConfig([.. one], "b"), Is.SameAs(first));
        Assert.That(files.ShareConfig(other, "c").Rank, Is.EqualTo(5));
    }

    private static PeftAdapterConfig Parse(string type, string fields) =>
        PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes($"{{\"peft_type\": \"{type}\"{(fields.Length > 0 ? ", " : "")}{fields}}}"),
            "memory");
}
