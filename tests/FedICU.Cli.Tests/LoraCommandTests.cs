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

    [TestCase("adapt", "ADAPTER", "--rank", "0", "--output", "OUT", "--rank is '0'")]
    [TestCase("adapt", "BASE", "--rank", "2", "--output", "OUT", "needs LoRA pairs")]
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

    private static float[] Read(TensorSource model, string name)
    {
        byte[] data = Place.Data(model, model.Find(name)!);
        return [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(data)];
    }
}
