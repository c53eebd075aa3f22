using System.Text;
using FedICU.Tests.Files;
using FedICU.Tests.Rounds;

namespace FedICU.Tests;

/// <summary>
/// Rounds of PEFT adapters whose modules differ in rank and alpha (rank_pattern, alpha_pattern) and that contain whole
/// modules (modules_to_save), from folder to folder. Names and files are those of PEFT's documentation:
/// adapter_config.json, and adapter_model.safetensors with the keys base_model.model.MODULE.lora_A.weight (rank x in)
/// and lora_B.weight (out x rank), and saved modules under their own names.
/// </summary>
internal sealed class MixedAdapterTests
{
    // spacing, order and unknown keys must be kept
    private const string Config = """
        {"alpha_pattern": {"layers.1.self_attn.q_proj": 3.5},   "base_model_name_or_path": "tiny/llama",
          "bias": "none", "eva_config": null, "lora_alpha": 16, "lora_dropout": 0.05,	"modules_to_save": ["lm_head", "score"],
         "peft_type": "LORA", "r": 4, "rank_pattern": {"layers.1.self_attn.q_proj": 2, "^model\\.layers\\.0\\.mlp\\.down_proj": 1},
          "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM", "use_rslora": false, "\u00fcber": [1e0, 1.0]
        }

        """;

    private const string Layers = "base_model.model.model.layers.";

    private static readonly (string Name, DType DType, long[] Shape)[] Layout =
    [
        (Layers + "0.self_attn.q_proj.lora_A.weight", DType.F32, [4, 12]),
        (Layers + "0.self_attn.q_proj.lora_B.weight", DType.F32, [10, 4]),
        (Layers + "0.mlp.down_proj.lora_A.weight", DType.F32, [1, 20]), (Layers + "0.mlp.down_proj.lora_B.weight", DType.F32, [12, 1]),
        (Layers + "1.self_attn.q_proj.lora_A.weight", DType.F16, [2, 12]),
        (Layers + "1.self_attn.q_proj.lora_B.weight", DType.F16, [10, 2]),
        ("base_model.model.lm_head.weight", DType.BF16, [30, 12]), ("base_model.model.score.weight", DType.F32, [3, 12]),
        ("base_model.model.score.bias", DType.F32, [3]),
    ];

    [TestCase("fedavg")]
    [TestCase("fedicu")]
    public void EveryTensorIsCorrectAndTheFolderIsAsPeftWritesIt(string strategy)
    {
        using var folder = new TempFolder();
        string global = Put(folder, "global", 0);
        double[] examples = [100, 300, 50];
        string[] ids = ["a", "b", "c"];
        using TensorSource model = TensorSource.Open(global);
        var round = new AggregationRound(model) { Options = new RoundOptions { Statistics = true } };
        for (int k = 0; k < 3; k++)
            round.Add(ClientUpdate.FromFile(ids[k], Put(folder, ids[k], k + 1), examples[k]));
        StageAggregator aggregator = StrategyRegistry.Default.Create(strategy, []).Aggregator;
        RoundReport report = aggregator.AggregateAsync(round, TensorSink.To(folder["next"], model)).GetAwaiter().GetResult().Report;

        Assert.That(Directory.GetFileSystemEntries(folder["next"]).Select(Path.GetFileName),
            Is.EquivalentTo(new[] { "adapter_config.json", "adapter_model.safetensors" }));
        Assert.That(File.ReadAllBytes(Path.Combine(folder["next"], "adapter_config.json")), Is.EqualTo(Encoding.UTF8.GetBytes(Config)));
        using var next = SafetensorsFile.Open(Path.Combine(folder["next"], "adapter_model.safetensors"));
        Assert.That(next.Tensors, Is.EquivalentTo(model.Tensors), "names, types, shapes");
        Assert.That(next.Metadata, Is.EquivalentTo(model.Metadata), "format: pt, as PEFT writes it");
        HandTensor[] tensors = [.. model.Tensors.Select(tensor => new HandTensor(
            tensor.Name, tensor.Shape.Dimensions.ToArray(), Values(tensor.Name, 0),
            [.. Enumerable.Range(1, 3).Select(k => Values(tensor.Name, k))]))];
        HandResult[] byHand = new SplitByHand(new FedIcuOptions(), examples).Round(ids, tensors);
        foreach ((HandTensor tensor, HandResult result) in tensors.Zip(byHand))
        {
            double[] expected = strategy == "fedicu"
                ? result.Theta : [.. tensor.Global.Select((_, i) => tensor.Clients.Select((client, k) => examples[k] * client[i])
                .Sum() / 450)];
            AssertRounded(Models.ToDoubles(next, tensor.Name), expected, next.Find(tensor.Name)!);
        }

        // saved modules are not pairs; the pairs have different ranks
        Assert.That(report.LoraPairs.Select(pair => pair.Name),
            Is.EquivalentTo(new[] { Layers + "0.self_attn.q_proj", Layers + "0.mlp.down_proj", Layers + "1.self_attn.q_proj" }));
        foreach (LoraPairReport pair in report.LoraPairs)
            Assert.That(pair.CrossTerm, Is.EqualTo(CrossTerm(tensors, pair.Name, examples)).Within(1e-9), pair.Name);
    }

    [TestCase("\"^model\\\\.layers\\\\.0\\\\.mlp\\\\.down_proj\": 1", "\"^model\\\\.layers\\\\.0\\\\.mlp\\\\.down_proj\": 2",
        "rank_pattern")]
    [TestCase("3.5", "4", "alpha_pattern")]
    [TestCase(", \"score\"", "", "modules_to_save")]
    public void ClientsThatDisagreeAreRefused(string mine, string theirs, string field)
    {
        using var folder = new TempFolder();
        string global = Put(folder, "global", 0), client = Put(folder, "a", 1, Config.Replace(mine, theirs));
        Assert.That(File.ReadAllText(Path.Combine(client, "adapter_config.json")), Is.Not.EqualTo(Config));
        AssertRefused(folder, global, client, $"its adapter_config.json disagrees with the global adapter's: {field} ");
    }

    [Test]
    public void AModuleWithAnotherRankThanTheConfigHasTheWrongShape()
    {
        using var folder = new TempFolder();
        string global = Put(folder, "global", 0),
            client = Put(folder, "a", 1, shapeOf: (name, shape) => name == Layers + "0.mlp.down_proj.lora_A.weight" ? [2, 20] : shape);
        AssertRefused(folder, global, client,
            $"tensor '{Layers}0.mlp.down_proj.lora_A.weight' has the shape [2, 20]; [1, 20] was expected.");
    }

    private static void AssertRefused(TempFolder folder, string global, string client, string sentence)
    {
        using TensorSource model = TensorSource.Open(global);
        var round = new AggregationRound(model) { ClientUpdate.FromFile("k", client, 1) };
        Assert.That(
            () => new FedIcuAggregator().AggregateAsync(round, TensorSink.To(folder["next"], model)).GetAwaiter().GetResult(),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith($"Client 'k' ('{client}'): {sentence}"));
        Assert.That(Directory.Exists(folder["next"]), Is.False);
    }

    /// <summary>
    /// Creates the values of a tensor of the global adapter (0) or of a client, rounded to the tensor's type.
    /// </summary>
    private static double[] Values(string name, int input)
    {
        (_, DType dtype, long[] shape) = Layout.Single(tensor => tensor.Name == name);
        (TensorInfo info, byte[] bytes) = Tensor(name, dtype, shape, input);
        return Models.ToDoubles(bytes, info);
    }

    private static (TensorInfo Info, byte[] Bytes) Tensor(string name, DType dtype, long[] shape, int input)
    {
        var random = new Random(name.Sum(letter => letter) + 1000 * input);
        return Models.Tensor(name, dtype, shape, _ => random.NextDouble() * 2 - 0.9);
    }

    private static string Put(
        TempFolder folder, string name, int input, string config = Config, Func<string, long[], long[]>? shapeOf = null)
    {
        var model = new MemoryModel(new Dictionary<string, string> { ["format"] = "pt" });
        foreach ((string tensor, DType dtype, long[] shape) in Layout)
        {
            (TensorInfo info, byte[] bytes) = Tensor(tensor, dtype, shapeOf is null ? shape : shapeOf(tensor, shape), input);
            model.Add(info, bytes);
        }

        Directory.CreateDirectory(folder[name]);
        TestModels.Write(model, TensorSink.ToFile(Path.Combine(folder[name], "adapter_model.safetensors")));
        File.WriteAllText(Path.Combine(folder[name], "adapter_config.json"), config);
        return folder[name];
    }

    /// <summary>
    /// Asserts equality up to one rounding of the tensor's type and the difference of two float64 computations.
    /// </summary>
    private static void AssertRounded(double[] found, double[] expected, TensorInfo tensor)
    {
        double unit = Math.ScaleB(1, tensor.DType switch { DType.F32 => -24, DType.F16 => -11, _ => -8 });
        for (int i = 0; i < expected.Length; i++)
            Assert.That(found[i], Is.EqualTo(expected[i]).Within(Math.Abs(expected[i]) * unit + 1e-7 * unit + 1e-13),
                $"{tensor.Name}[{i}]");
    }

    private static double CrossTerm(HandTensor[] tensors, string module, double[] examples)
    {
        HandTensor a = tensors.Single(tensor => tensor.Name == module + ".lora_A.weight");
        HandTensor b = tensors.Single(tensor => tensor.Name == module + ".lora_B.weight");
        return DenseCrossTerm.Compute([.. a.Clients], [.. b.Clients], (int)a.Shape[0], examples);
    }
}
