namespace FedICU.Cli.Tests;

public sealed class MaskTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp()
    {
        _place = new Place();
        var random = new Random(5);
        foreach (string name in (string[])["received", "trained"])
        {
            float[] values = [.. Enumerable.Range(0, 1000).Select(_ => (float)random.NextDouble() - 0.5f)];
            _place.Write(name + ".safetensors", new MemoryModel { { "w", [40, 25], values } });
        }
    }

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void PrintsShareAndSavingsOfEachTensor()
    {
        Run run = Mask("update.safetensors", "--mask", "top=0.1");
        // 100 values of 4 bytes and 1000 bits
        Assert.That(run.Cells("w"), Is.EqualTo(new[] { "w", "1000", "100", "10.0 %", "525", "4000" }));
        Assert.That(run.Output, Does.Contain("525 of 4000 bytes").And.Contain("saved"));
    }

    [Test]
    public void TheDenseOutputEqualsTheUnpackedUpdate([Values("hard", "soft", "top=0.25", "noise=0.01")] string mask)
    {
        Mask("update.safetensors", "--mask", mask);
        Mask("dense.safetensors", "--mask", mask, "--dense");
        Tool.Run(
            "aggregate", "--strategy", "fedavg", "--global", _place["received.safetensors"], "--client", _place["update.safetensors"],
            "--output", _place["whole.safetensors"]).Succeeded();
        Assert.That(Place.Read<float>(_place["whole.safetensors"], "w"), Is.EqualTo(Place.Read<float>(_place["dense.safetensors"], "w")));
    }

    [Test]
    public void TheMomentumPassesFromRoundToRound()
    {
        Mask("first.safetensors", "--momentum-out", _place["m.safetensors"]);
        float[] first = Place.Read<float>(_place["m.safetensors"], "w");
        // one run reads and replaces the file
        Mask("second.safetensors", "--momentum", _place["m.safetensors"], "--momentum-out", _place["m.safetensors"], "--set", "beta=0.5");
        // the update is the same, so the average does not change
        Assert.That(Place.Read<float>(_place["m.safetensors"], "w"), Is.EqualTo(first).Within(1e-7));
    }

    [Test]
    public void TheSeedDeterminesTheNoise()
    {
        Mask("one.safetensors", "--mask", "noise=0.5", "--set", "seed=1");
        Mask("same.safetensors", "--mask", "noise=0.5", "--set", "seed=1", "--threads", "3");
        Mask("other.safetensors", "--mask", "noise=0.5", "--set", "seed=2");
        Assert.That(File.ReadAllBytes(_place["same.safetensors"]), Is.EqualTo(File.ReadAllBytes(_place["one.safetensors"])));
        Assert.That(File.ReadAllBytes(_place["other.safetensors"]), Is.Not.EqualTo(File.ReadAllBytes(_place["one.safetensors"])));
    }

    [Test]
    public void TheMaskCanBeGivenWithSet()
    {
        Mask("flag.safetensors", "--mask", "top=0.2");
        Mask("set.safetensors", "--set", "mask=top=0.2");
        Assert.That(File.ReadAllBytes(_place["set.safetensors"]), Is.EqualTo(File.ReadAllBytes(_place["flag.safetensors"])));
    }

    [Test]
    public void ThePackedUpdateOfAnAdapterIsOneFile()
    {
        string global = _place.WriteAdapter("base", 1), local = _place.WriteAdapter("trained", 2);
        string[] line = ["mask", "--global", global, "--local", local, "--output"];
        // PEFT could not load the packed tensors from an adapter folder
        Tool.Run([.. line, _place["update"]]).Failed(1, "--output", "adapter", ".safetensors", "--dense");
        Assert.That(Directory.Exists(_place["update"]), Is.False);
        Tool.Run([.. line, _place["update.safetensors"], "--momentum-out", _place["momentum"]]).Succeeded();
        Tool.Run([.. line, _place["dense"], "--dense"]).Succeeded();
        Tool.Run([.. line, _place["noise"], "--mask", "noise=0.1"]).Succeeded();
        Tool.Run([.. line, _place["filled"], "--set", "fill=zero"]).Succeeded();
        foreach (string adapter in (string[])["dense", "noise", "filled"])
            Assert.That(Tool.Run("inspect", _place[adapter]).Succeeded().Output, Does.Contain("LORA adapter").And.Not.Contain("#"));
        Tool.Run(
            "aggregate", "--strategy", "fedicu", "--global", global, "--client", _place["update.safetensors"],
            "--output", _place["next"]).Succeeded();
        using TensorSource next = TensorSource.Open(_place["next"]);
        Assert.That(next, Is.TypeOf<PeftAdapter>());
    }

    [Test]
    public void ThePackedUpdateOfAShardedModelIsOneFile()
    {
        _place.Write("big/one.safetensors", new MemoryModel { { "w", [40, 25], Place.Read<float>(_place["received.safetensors"], "w") } });
        string index = _place.Write("big/model.safetensors.index.json", """{"weight_map":{"w":"one.safetensors"}}""");
        string[] line = ["mask", "--global", index, "--local", _place["trained.safetensors"], "--output"];
        Tool.Run([.. line, _place["update"]]).Failed(1, "--output", ".safetensors");
        Tool.Run([.. line, _place["update.safetensors"]]).Succeeded();
        Tool.Run([.. line, _place["dense"], "--dense"]).Succeeded();
        Tool.Run(
            "aggregate", "--strategy", "fedavg", "--global", index, "--client", _place["update.safetensors"],
            "--output", _place["next"]).Succeeded();
        Assert.That(Place.Read<float>(_place["next"], "w"), Is.EqualTo(Place.Read<float>(_place["dense"], "w")));
    }

    private Run Mask(string output, params string[] rest)
    {
        string global = _place["received.safetensors"], local = _place["trained.safetensors"];
        return Tool.Run(["mask", "--global", global, "--local", local, "--output", _place[output], .. rest]).Succeeded();
    }

    [Test]
    public void APackedUpdateDoesNotReplaceAnAdaptersFile()
    {
        Directory.CreateDirectory(_place["adapter"]);
        File.WriteAllText(_place["adapter/adapter_config.json"], """{"peft_type":"LORA"}""");
        string output = _place["adapter/adapter_model.safetensors"];
        Tool.Run("mask", "--global", _place.Global, "--local", _place.A, "--output", output).Failed(1, "is an adapter's file");
        Assert.That(File.Exists(output), Is.False);
    }
}
