using System.Text;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

public sealed class PeftAdapterTests
{
    private const string Config = """
        {
          "peft_type": "LORA", "r": 16, "lora_alpha": 32, "use_rslora": true, "use_dora": false, "bias": "none", "revision": null,
          "target_modules": ["v_proj", "q_proj"], "base_model_name_or_path": "meta/base", "modules_to_save": ["lm_head"],
          "rank_pattern": {"q_proj": 8}, "alpha_pattern": {"q_proj": 16.5}
        }
        """;

    private static readonly ArrayModel Weights = new(
        [Tensor("m.q_proj.lora_A.weight", DType.F32, 16, 4), Tensor("m.q_proj.lora_B.weight", DType.F32, 4, 16)]);

    [Test]
    public void AnAdapterIsReadAndWritten([Values] FileAccessMode mode)
    {
        using var folder = Folder(Config);
        using var adapter = PeftAdapter.Open(folder.FullName, mode);
        AssertSame(adapter, Weights);
        Assert.That(adapter.Location, Is.EqualTo(folder.FullName));

        Write(adapter, TensorSink.To(folder["out"], adapter));
        using var copy = PeftAdapter.Open(folder["out"], mode);
        AssertSame(copy, Weights);
        Assert.That(File.ReadAllText(Path.Combine(folder["out"], "adapter_config.json")), Is.EqualTo(Config));
        Assert.That(Directory.GetFileSystemEntries(folder["out"]), Has.Length.EqualTo(2));
    }

    [Test]
    public void TheConfigurationIsParsed()
    {
        PeftAdapterConfig config = Parse(Config);
        Assert.Multiple(() =>
        {
            Assert.That(config.PeftType, Is.EqualTo("LORA"));
            Assert.That(config.Rank, Is.EqualTo(16));
            Assert.That(config.LoraAlpha, Is.EqualTo(32));
            Assert.That(config.UseRsLora, Is.True);
            Assert.That(config.UseDora, Is.False);
            Assert.That(config.TargetModules, Is.EqualTo((string[])["q_proj", "v_proj"]));
            Assert.That(config.BaseModel, Is.EqualTo("meta/base"));
            Assert.That(config.ModulesToSave, Is.EqualTo((string[])["lm_head"]));
            Assert.That(config.RankPattern["q_proj"], Is.EqualTo(8));
            Assert.That(config.AlphaPattern["q_proj"], Is.EqualTo(16.5));
        });
    }

    [Test]
    public void AbsentFieldsHaveTheDefaultsOfPeft()
    {
        PeftAdapterConfig config = Parse("{}");
        Assert.Multiple(() =>
        {
            Assert.That(config.Rank, Is.EqualTo(8));
            Assert.That(config.LoraAlpha, Is.EqualTo(8));
            Assert.That(config.TargetModules, Is.Empty);
            Assert.That(config.BaseModel, Is.Null);
            Assert.That(
                config.DescribeDisagreement(Parse(
                    """{"r": 8, "lora_alpha": 8.0, "modules_to_save": [], "rank_pattern": null, "use_dora": false}""")),
                Is.Null);
        });
    }

    [TestCase("\"r\": 16", "\"r\": 8", "r 16 against 8")]
    [TestCase("\"lora_alpha\": 32", "\"lora_alpha\": 16", "lora_alpha 32 against 16")]
    [TestCase("\"lora_alpha\": 32", "\"lora_alpha\": 32.5", "lora_alpha 32 against 32.5")]
    [TestCase("\"use_rslora\": true", "\"use_rslora\": null", "use_rslora true against false")]
    [TestCase("\"use_dora\": false", "\"use_dora\": true", "use_dora false against true")]
    [TestCase("[\"v_proj\", \"q_proj\"]", "[\"v_proj\"]", "target_modules ['q_proj', 'v_proj'] against ['v_proj']")]
    [TestCase("[\"v_proj\", \"q_proj\"]", "\"q_proj\"", "target_modules ['q_proj', 'v_proj'] against 'q_proj'")]
    [TestCase("meta/base", "other", "base_model_name_or_path 'meta/base' against 'other'")]
    [TestCase("\"meta/base\"", "null", "base_model_name_or_path 'meta/base' against null")]
    [TestCase("{\"q_proj\": 8}", "{}", "rank_pattern {'q_proj': 8} against {}")]
    [TestCase("16.5", "17", "alpha_pattern {'q_proj': 16.5} against {'q_proj': 17}")]
    [TestCase("[\"lm_head\"]", "[\"embed\", \"lm_head\"]", "modules_to_save ['lm_head'] against ['embed', 'lm_head']")]
    [TestCase("[\"v_proj\", \"q_proj\"]", "[\"q_proj\", \"v_proj\"]", null)]
    [TestCase("\"none\"", "\"all\"", "bias 'none' against 'all'")]
    [TestCase("meta/base", "meta/base/", null)]
    [TestCase("\"revision\": null", "\"revision\": \"main\"", null)]
    [TestCase("\"revision\": null", "\"lora_dropout\": 0.1", null)]
    [TestCase("32", "32.0", null)]
    public void TheFirstFieldThatDiffersIsDescribed(string old, string changed, string? expected)
    {
        Assert.That(Config, Does.Contain(old));
        Assert.That(Parse(Config).DescribeDisagreement(Parse(Config.Replace(old, changed))), Is.EqualTo(expected));
    }

    [Test]
    public void LongValuesAreComparedWhole()
    {
        string path = new('p', 300);
        Assert.That(
            Parse(Config.Replace("meta/base", path + "1")).DescribeDisagreement(Parse(Config.Replace("meta/base", path + "2"))),
            Does.StartWith("base_model_name_or_path 'ppp").And.Length.LessThan(500));
    }

    [TestCase("", "'{c}' is empty.")]
    [TestCase("[]", "'{c}' is an array, expected an object.")]
    [TestCase("{", "'{c}' is not valid JSON: ")]
    [TestCase("{\"r\": 1, \"r\": 2}", "'{c}' is not valid JSON: ")]
    [TestCase("{\"r\": NaN}", "'{c}' is not valid JSON: ")]
    [TestCase("{\"r\": 0}", "'{c}' has '0' for r, expected a whole number from 1.")]
    [TestCase("{\"r\": -8}", "'{c}' has '-8' for r, expected a whole number from 1.")]
    [TestCase("{\"r\": 1.5}", "'{c}' has '1.5' for r, expected a whole number from 1.")]
    [TestCase("{\"r\": \"8\"}", "'{c}' has '8' for r, expected a whole number from 1.")]
    [TestCase("{\"r\": 99999999999}", "'{c}' has '99999999999' for r, expected a whole number from 1.")]
    [TestCase("{\"lora_alpha\": true}", "'{c}' has a boolean for lora_alpha, expected a finite number.")]
    [TestCase("{\"lora_alpha\": 1e999}", "'{c}' has '1e999' for lora_alpha, expected a finite number.")]
    [TestCase("{\"use_dora\": 1}", "'{c}' has '1' for use_dora, expected true or false.")]
    [TestCase("{\"target_modules\": 1}", "'{c}' has '1' for target_modules, expected a list of names or a string.")]
    [TestCase("{\"target_modules\": [1]}", "'{c}' has '1' for target_modules, expected a string.")]
    [TestCase("{\"base_model_name_or_path\": []}", "'{c}' has an array for base_model_name_or_path, expected a string.")]
    [TestCase("{\"base_model_name_or_path\": \"\\ud800\"}", "'{c}' holds a string that is not valid Unicode.")]
    [TestCase("{\"rank_pattern\": []}", "'{c}' has an array for rank_pattern, expected an object.")]
    [TestCase("{\"rank_pattern\": {\"a\": \"b\"}}", "'{c}' has 'b' for rank_pattern, expected a whole number from 1.")]
    [TestCase("{\"alpha_pattern\": {\"a\": {}}}", "'{c}' has an object for alpha_pattern, expected a finite number.")]
    [TestCase("{\"modules_to_save\": {}}", "'{c}' has an object for modules_to_save, expected a list of names or a string.")]
    public void AMalformedConfigurationIsRejectedWithOneSentence(string config, string sentence)
    {
        using var folder = Folder(config);
        var refusal = Assert.Throws<InvalidModelException>(() => PeftAdapter.Open(folder.FullName))!;
        string expected = sentence.Replace("{c}", folder["adapter_config.json"]);
        Assert.That(refusal.Message, expected.EndsWith(' ') ? Does.StartWith(expected) : Is.EqualTo(expected));
    }

    [Test]
    public void AMissingFileIsNamed()
    {
        using var folder = Folder(Config);
        File.Delete(folder["adapter_model.safetensors"]);
        var refusal = Assert.Throws<InvalidModelException>(() => PeftAdapter.Open(folder.FullName))!;
        Assert.That(refusal.Message, Is.EqualTo($"'{folder["adapter_model.safetensors"]}' does not exist."));
        File.Delete(folder["adapter_config.json"]);
        refusal = Assert.Throws<InvalidModelException>(() => PeftAdapter.Open(folder.FullName))!;
        Assert.That(refusal.Message, Is.EqualTo($"'{folder["adapter_config.json"]}' does not exist."));
    }

    private static PeftAdapterConfig Parse(string json) => PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(json), "memory");

    private static TempFolder Folder(string config)
    {
        var folder = new TempFolder();
        Write(Weights, TensorSink.ToFile(folder["adapter_model.safetensors"]));
        folder.Put("adapter_config.json", Encoding.UTF8.GetBytes(config));
        return folder;
    }
}
