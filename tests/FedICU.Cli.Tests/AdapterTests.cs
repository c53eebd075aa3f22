namespace FedICU.Cli.Tests;

/// <summary>
/// Aggregates and masks adapter folders whose modules have different ranks (rank_pattern, alpha_pattern) or are saved
/// as a whole (modules_to_save).
/// </summary>
public sealed class AdapterTests
{
    private const string Config =
        "{ \"r\": 2,\n\t\"rank_pattern\": {\"down_proj\": 1}, \"alpha_pattern\": {\"down_proj\": 4},\n " +
        "\"modules_to_save\": [\"lm_head\"], \"lora_alpha\": 16, " +
        "\"target_modules\": [\"q_proj\", \"down_proj\"], \"base_model_name_or_path\": \"tiny\", " +
        "\"peft_type\": \"LORA\", \"unknown\": [ ] }\n";

    private const string Q = "base_model.model.layers.0.q_proj";
    private const string Down = "base_model.model.layers.0.down_proj";
    private const string Head = "base_model.model.lm_head.weight";

    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void MixedRanksAndSavedModulesAreAggregated([Values] bool overItself)
    {
        string global = Adapter("global", 0), output = overItself ? global : _place["next"];
        Run run = Tool.Run(
            "aggregate", "--strategy", "fedavg", "--global", global, "--client", "a=" + Adapter("a", 1), "--client", "b=" + Adapter("b", 2),
            "--weights", "1,3", "--output", output, "--report", _place["r.json"]).Succeeded();
        Assert.That(
            Directory.GetFileSystemEntries(output).Select(Path.GetFileName),
            Is.EquivalentTo(new[] { "adapter_config.json", "adapter_model.safetensors" }));
        Assert.That(File.ReadAllText(Path.Combine(output, "adapter_config.json")), Is.EqualTo(Config));
        using (TensorSource next = TensorSource.Open(output), a = TensorSource.Open(_place["a"]))
        {
            Assert.That(next.Tensors, Is.EquivalentTo(a.Tensors));
            Assert.That(next.Metadata, Is.EquivalentTo(new Dictionary<string, string> { ["format"] = "pt" }));
        }

        foreach ((string name, long[] shape) in Layout)
        {
            float[] a = Values(name, shape, 1), b = Values(name, shape, 2);
            Assert.That(Place.Read<float>(output, name), Is.EqualTo(a.Zip(b, (x, y) => (float)((x + 3.0 * y) / 4))), name);
        }

        Assert.That(run.Output, Does.Contain(Q).And.Contain(Down), "the cross-terms of both pairs");
        RoundReport report = RoundReport.FromJson(File.ReadAllText(_place["r.json"]));
        Assert.That(report.LoraPairs.Select(pair => pair.Name), Is.EquivalentTo(new[] { Q, Down }));
    }

    [Test]
    public void TheToolAndTheLibraryWriteTheSameBytes()
    {
        string global = Adapter("global", 0), a = Adapter("a", 1), b = Adapter("b", 2), c = Adapter("c", 3);
        Tool.Run(
            "aggregate", "--strategy", "fedicu", "--global", global, "--client", "a=" + a, "--client", "b=" + b, "--client", "c=" + c,
            "--output", _place["next"]).Succeeded();
        using (TensorSource model = TensorSource.Open(global))
        {
            var round = new AggregationRound(model)
            {
                ClientUpdate.FromFile("c", c), ClientUpdate.FromFile("b", b), ClientUpdate.FromFile("a", a),
            };
            TensorSink sink = TensorSink.ToAdapterFolder(_place["library"], ((PeftAdapter)model).Config);
            new FedIcuAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        }

        AssertEqualAdapters("next", "library");
    }

    [Test]
    public void APackedAdapterGivesTheSameResultAsTheDenseOne()
    {
        string global = Adapter("global", 0), sparse = _place["sparse.safetensors"], dense = _place["dense"];
        Tool.Run("mask", "--global", global, "--local", Adapter("a", 1), "--mask", "top=0.25", "--output", sparse).Succeeded();
        Tool.Run("mask", "--global", global, "--local", _place["a"], "--mask", "top=0.25", "--dense", "--output", dense).Succeeded();
        string b = Adapter("b", 2);
        foreach ((string client, string output) in ((string, string)[])[(sparse, "one"), (dense, "other")])
        {
            Tool.Run(
                "aggregate", "--strategy", "fedicu", "--global", global, "--client", "k=" + client, "--client", "l=" + b,
                "--output", _place[output]).Succeeded();
        }

        AssertEqualAdapters("one", "other");
    }

    [TestCase("{\"down_proj\": 1}", "{\"down_proj\": 2}", "rank_pattern")]
    [TestCase("{\"down_proj\": 4}", "{}", "alpha_pattern")]
    [TestCase("[\"lm_head\"]", "null", "modules_to_save")]
    public void DifferentConfigsAreRefused(string mine, string theirs, string field)
    {
        string global = Adapter("global", 0), client = "k=" + Adapter("a", 1);
        _place.Write("a/adapter_config.json", Config.Replace(mine, theirs));
        _place.AssertRefused(
            ["aggregate", "--strategy", "fedicu", "--global", global, "--client", client, "--output", _place["next"]], "'k'", field);
    }

    [Test]
    public void AdaptersOfOtherTypesAreInspectedAndAggregated()
    {
        const string AdaLora = """
            {"peft_type": "ADALORA", "r": 8, "target_r": 4, "init_r": 6, "lora_alpha": 16, "target_modules": ["q_proj"],
             "base_model_name_or_path": "base/x", "rank_pattern": {"model.layers.0.q_proj.lora_E": [true, false, true]}}
            """;
        string global = Adapter("global", 0), a = Adapter("a", 1), next = _place["next"];
        foreach (string name in (string[])["global", "a"])
            _place.Write($"{name}/adapter_config.json", AdaLora);
        Assert.That(Tool.Run("inspect", global).Succeeded().Output, Does.Contain(
            "ADALORA adapter, init_r 6, target_r 4, lora_alpha 16, target_modules q_proj, base base/x"));
        Run run = Tool.Run(
            "aggregate", "--strategy", "fedavg", "--set", "balance=true", "--global", global, "--client", "a=" + a,
            "--output", next).Succeeded();
        Assert.That(run.Output, Does.Contain($"note: The factors of '{Q}' (peft_type ADALORA)"));
        Assert.That(Place.Read<float>(next, Q + ".lora_A.weight"), Is.EqualTo(Place.Read<float>(a, Q + ".lora_A.weight")));
    }

    [Test]
    public void LocalPathsOfTheBaseModelAreIgnoredOnRequest()
    {
        string global = Adapter("global", 0), a = Adapter("a", 1);
        _place.Write("a/adapter_config.json", Config.Replace("\"tiny\"", "\"/home/one/tiny\"", StringComparison.Ordinal));
        string[] aggregate = ["aggregate", "--strategy", "fedavg", "--global", global, "--client", "a=" + a, "--output", _place["next"]];
        Tool.Run(aggregate).Failed(1, "'a'", "base_model_name_or_path '/home/one/tiny' against 'tiny'");
        Tool.Run([.. aggregate, "--set", "on-config=ignore-base"]).Succeeded();
        string[] mask = ["mask", "--global", global, "--local", a, "--output", _place["update.safetensors"]];
        Tool.Run(mask).Failed(1, "base_model_name_or_path '/home/one/tiny' against 'tiny'");
        Tool.Run([.. mask, "--set", "on-config=drop-client"]).Failed(1, "on-config", "drop-client", "reject or ignore-base");
        Tool.Run([.. mask, "--set", "on-config=ignore-base"]).Succeeded();
    }

    [Test]
    public void LoHaAdaptersWithDifferentAlphasAreRefused()
    {
        string global = Adapter("global", 0), b = Adapter("b", 1);
        _place.Write("global/adapter_config.json", """{"peft_type": "LOHA", "r": 4, "alpha": 8, "target_modules": ["q"]}""");
        _place.Write("b/adapter_config.json", """{"peft_type": "LOHA", "r": 4, "alpha": 32, "target_modules": ["q"]}""");
        Tool.Run("aggregate", "--strategy", "fedavg", "--global", global, "--client", "b=" + b, "--output", _place["next"])
            .Failed(1, "'b'", "alpha 32 against 8");
    }

    private static readonly (string Name, long[] Shape)[] Layout =
    [
        (Q + ".lora_A.weight", [2, 6]), (Q + ".lora_B.weight", [5, 2]), (Down + ".lora_A.weight", [1, 7]),
        (Down + ".lora_B.weight", [6, 1]), (Head, [9, 6]),
    ];

    private void AssertEqualAdapters(string actual, string expected)
    {
        foreach (string file in (string[])["adapter_config.json", "adapter_model.safetensors"])
        {
            Assert.That(
                File.ReadAllBytes(Path.Combine(_place[actual], file)),
                Is.EqualTo(File.ReadAllBytes(Path.Combine(_place[expected], file))), file);
        }
    }

    private string Adapter(string name, int input)
    {
        var model = new MemoryModel(new Dictionary<string, string> { ["format"] = "pt" });
        foreach ((string tensor, long[] shape) in Layout)
            model.Add(tensor, shape, Values(tensor, shape, input));
        _place.Write(Path.Combine(name, "adapter_model.safetensors"), model);
        _place.Write(Path.Combine(name, "adapter_config.json"), Config);
        return _place[name];
    }

    /// <summary>Creates multiples of an eighth, so that a mean with the weights one and three is exact.</summary>
    private static float[] Values(string name, long[] shape, int input)
    {
        var random = new Random(name.Length + 100 * input);
        return [.. Enumerable.Range(0, (int)(shape[0] * shape[1])).Select(_ => random.Next(-64, 65) / 8f)];
    }
}
