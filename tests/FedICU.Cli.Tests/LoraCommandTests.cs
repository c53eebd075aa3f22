using System.Text.Json;

namespace FedICU.Cli.Tests;

/// <summary>Rounds of LoRA pairs, <c>adapt</c> and <c>fuse</c> on the command line.</summary>
public sealed class LoraCommandTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void AStackedAdapterIsAFolderAsPeftReadsIt()
    {
        string a = _place.WriteAdapter("a", 1), b = _place.WriteAdapter("b", 2), next = _place["next"];
        string global = _place.WriteAdapter("g", 0);
        Tool.Run("aggregate", "--strategy", "flora", "--global", global, "--client", a, "--client", b, "--output", next).Succeeded();
        JsonElement config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(next, "adapter_config.json"))).RootElement;
        Assert.That((config.GetProperty("r").GetInt32(), config.GetProperty("lora_alpha").GetInt32()), Is.EqualTo((4, 4)));
        Assert.That(config.GetProperty("use_rslora").GetBoolean(), Is.False);
        Assert.That(config.GetProperty("base_model_name_or_path").GetString(), Is.EqualTo("tiny"));
        Assert.That(config.GetProperty("target_modules")[0].GetString(), Is.EqualTo("q_proj"));
        using TensorSource written = TensorSource.Open(next);
        Assert.That(written.Find("base.q_proj.lora_A.weight")!.Shape, Is.EqualTo(new TensorShape(4, 4)));
        Assert.That(written.Find("base.q_proj.lora_B.weight")!.Shape, Is.EqualTo(new TensorShape(3, 4)));
    }

    [Test]
    public void ExplainShowsErrorsRanksAndOverlaps()
    {
        string a = _place.WriteAdapter("a", 1), b = _place.WriteAdapter("b", 2);
        Run run = Tool.Run("explain", "--strategy", "hetlora", "--global", _place.WriteAdapter("g", 0), "--client", a, "--client", b);
        run.Succeeded();
        foreach (string part in (string[])["cross-term", "error", "effective rank", "overlap of A", "overlap of B"])
            Assert.That(run.Output, Does.Contain(part));
    }

    [Test]
    public void AnAdapterIsCutAndItsErrorIsShown()
    {
        Run run = Tool.Run("adapt", _place.WriteAdapter("a", 1), "--rank", "1", "--output", _place["small"]);
        run.Succeeded();
        Assert.That(run.Output, Does.Contain("base.q_proj").And.Contain("largest relative error"));
        using TensorSource small = TensorSource.Open(_place["small"]);
        Assert.That(small.Find("base.q_proj.lora_A.weight")!.Shape, Is.EqualTo(new TensorShape(1, 4)));
    }

    [Test]
    public void AnAdapterIsFusedAndTheFilesBesideTheBaseGoAlong()
    {
        string adapter = _place.WriteAdapter("a", 1);
        _place.Write(Path.Combine("base", "model.safetensors"), new MemoryModel { { "base.q_proj.weight", [3, 4], new float[12] } });
        _place.Write(Path.Combine("base", "config.json"), """{"model_type": "tiny"}""");
        _place.Write(Path.Combine("base", "tokenizer.json"), "{}");
        Tool.Run("fuse", "--base", _place["base"], "--adapter", adapter, "--output", _place["fused"]).Succeeded();
        Assert.That(
            Directory.GetFiles(_place["fused"]).Select(Path.GetFileName).Order(StringComparer.Ordinal),
            Is.EqualTo(new[] { "config.json", "model.safetensors", "tokenizer.json" }));
        using TensorSource fused = TensorSource.Open(_place["fused"]), factors = TensorSource.Open(adapter);
        float[] w = Read(fused, "base.q_proj.weight"), a = Read(factors, "base.q_proj.lora_A.weight");
        float[] b = Read(factors, "base.q_proj.lora_B.weight");
        for (int i = 0; i < w.Length; i++)
        {
            double expected = 8 * ((double)b[i / 4 * 2] * a[i % 4] + (double)b[i / 4 * 2 + 1] * a[4 + i % 4]);
            Assert.That(w[i], Is.EqualTo((float)expected));
        }
    }

    [Test]
    public void OnlyTheKnownFilesGoAlongAndLinksAreReplaced()
    {
        const string Tied = "\"tie_word_embeddings\": true";
        string output = _place["fused"], precious = WriteTiedBase($$"""{ {{Tied}}, "text_config": { {{Tied}} } }""");
        string[] copied = ["config.json", "tokenizer.model", "chat_template.jinja", "preprocessor_config.json"];
        foreach (string name in (string[])[.. copied[1..], "notes.txt", "training.json", "modeling.py"])
            _place.Write(Path.Combine("base", name), "of the base");
        Directory.CreateDirectory(output);
        File.WriteAllText(Path.Combine(output, "notes.txt"), "mine");
        File.CreateSymbolicLink(Path.Combine(output, "config.json"), precious);
        FuseHead().Succeeded();
        Assert.That(
            Directory.GetFiles(output).Select(Path.GetFileName), Is.EquivalentTo((string[])["model.safetensors", "notes.txt", .. copied]));
        Assert.That(File.ReadAllText(Path.Combine(output, "notes.txt")), Is.EqualTo("mine"));
        Assert.That(File.ReadAllText(precious), Is.EqualTo("precious"));
        JsonElement config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(output, "config.json"))).RootElement;
        foreach (JsonElement part in (JsonElement[])[config, config.GetProperty("text_config")])
            Assert.That(part.GetProperty("tie_word_embeddings").GetBoolean(), Is.False);
    }

    [Test]
    public void AFileThatCannotGoAlongIsFoundBeforeTheModelIsWritten()
    {
        WriteTiedBase("{");
        Run run = FuseHead();
        Assert.That((run.Code, Directory.Exists(_place["fused"])), Is.EqualTo((1, false)));
        Assert.That(run.Error, Does.Contain("config.json' is no valid JSON object"));

        _place.Write(Path.Combine("base", "config.json"), "{}");
        Directory.CreateDirectory(Path.Combine(_place["fused"], "config.json"));
        run = FuseHead();
        Assert.That((run.Code, Directory.GetFiles(_place["fused"])), Is.EqualTo((1, Array.Empty<string>())));
        Assert.That(run.Error, Does.Contain("config.json' is a folder, expected a file"));
    }

    [TestCase("adapt", "ADAPTER", "--rank", "0", "--output", "OUT", "--rank is '0'")]
    [TestCase("adapt", "BASE", "--rank", "2", "--output", "OUT", "has no LoRA pairs")]
    [TestCase("fuse", "--base", "ADAPTER", "--adapter", "ADAPTER", "--output", "OUT", "is an adapter; a model was expected")]
    [TestCase("fuse", "--base", "BASE", "--adapter", "ADAPTER", "--output", "OUT", "has no weight for the LoRA pair")]
    [TestCase("fuse", "--base", "BASE", "--adapter", "ADAPTER", "--output", "BASE", "--output")]
    public void RefusalsWriteNothing(params string[] line)
    {
        string adapter = _place.WriteAdapter("a", 1);
        string model = _place.Write("base.safetensors", new MemoryModel { { "other.weight", [3, 4], new float[12] } });
        byte[] before = File.ReadAllBytes(model);
        Run run = Tool.Run([.. line[..^1].Select(word => word switch
        {
            "ADAPTER" => adapter,
            "BASE" => model,
            "OUT" => _place["out"],
            _ => word,
        })]);
        Assert.That((run.Code, run.Output), Is.EqualTo((1, "")));
        Assert.That(run.Error, Does.Contain(line[^1]));
        Assert.That(Directory.Exists(_place["out"]), Is.False);
        Assert.That(File.ReadAllBytes(model), Is.EqualTo(before));
    }

    // what fedex-lora writes beside its output replaces nothing that the round reads or writes
    [TestCase("base-output=a/adapter_model.safetensors", "would replace the update of client 'a'; another place was expected")]
    [TestCase("base-output=base", "would replace base")]
    [TestCase("base-output=base/model.safetensors", "would replace base")]
    [TestCase("base-output=next", "would replace the output")]
    [TestCase("residual-output=g", "residual-output 'g' would replace the global model")]
    [TestCase("residual-output=b", "would replace the update of client 'b'")]
    [TestCase("base-output=new;residual-output=new", "residual-output 'new' would replace base-output")]
    [TestCase("base-output=new;OUTPUT=base/model.safetensors", "The output would replace base")]
    [TestCase("base-output=link/model.safetensors", "would replace base")]
    public void ResidualsReplaceNoModelOfTheRound(string places, string sentence)
    {
        string a = _place.WriteAdapter("a", 1), b = _place.WriteAdapter("b", 2), global = _place.WriteAdapter("g", 0);
        string model = _place.Write(
            Path.Combine("base", "model.safetensors"), new MemoryModel { { "base.q_proj.weight", [3, 4], new float[12] } });
        Directory.CreateSymbolicLink(_place["link"], _place["base"]);
        Dictionary<string, string> before = ReadAll();
        string[][] settings = [.. places.Split(';').Select(place => place.Split('='))];
        string output = _place[settings.FirstOrDefault(setting => setting[0] == "OUTPUT")?[1] ?? "next"];
        string[] line =
        [
            "aggregate", "--strategy", "fedex-lora", "--global", global, "--client", a, "--client", b, "--output", output,
            .. settings.Where(setting => setting[0] != "OUTPUT").SelectMany(setting =>
                new[] { "--set", $"{setting[0]}={_place[setting[1]]}" }),
            .. places.Contains("base-output") ? new[] { "--set", $"base={model}" } : [],
        ];
        foreach (string[] more in (string[][])[[], ["--check"]])
        {
            Run run = Tool.Run([.. line, .. more]);
            Assert.That(run.Code, Is.EqualTo(1));
            Assert.That(run.Error.Replace(_place[""] + Path.DirectorySeparatorChar, ""), Does.Contain(sentence));
        }

        Assert.That(ReadAll(), Is.EqualTo(before));
    }

    private Dictionary<string, string> ReadAll() => Directory.GetFiles(_place[""], "*", SearchOption.AllDirectories)
        .ToDictionary(file => file, file => Convert.ToHexString(File.ReadAllBytes(file)));

    /// <summary>Writes a base model whose head is tied, an adapter of the head, and a file outside.</summary>
    private string WriteTiedBase(string config)
    {
        _place.Write(Path.Combine("base", "model.safetensors"), new MemoryModel { { "model.embed_tokens.weight", [3, 2], new float[6] } });
        _place.Write(Path.Combine("base", "config.json"), config);
        _place.Write("head.safetensors", new MemoryModel
        {
            { "lm_head.lora_A.weight", [1, 2], new float[] { 1, 2 } }, { "lm_head.lora_B.weight", [3, 1], new float[] { 1, 1, 1 } },
        });
        _place.Write("precious.json", "precious");
        return _place["precious.json"];
    }

    private Run FuseHead() => Tool.Run(
        "fuse", "--base", _place["base"], "--adapter", _place["head.safetensors"], "--scaling", "1", "--output", _place["fused"]);

    private static float[] Read(TensorSource model, string name)
    {
        byte[] data = Place.Data(model, model.Find(name)!);
        return [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(data)];
    }
}
