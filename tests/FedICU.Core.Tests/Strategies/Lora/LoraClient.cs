using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>An adapter of one pair for a weight of two inputs, unless more are given, in F64.</summary>
/// <param name="A">A, row by row.</param>
/// <param name="B">B, row by row.</param>
/// <param name="Alpha">lora_alpha.</param>
/// <param name="Examples">The client's weight.</param>
internal sealed record LoraClient(double[] A, double[] B, double Alpha, double Examples)
{
    public const string Module = "base_model.model.layer";

    public int Inputs { get; init; } = 2;

    public bool UseRsLora { get; init; }

    /// <summary>Gets further fields of the configuration, in JSON.</summary>
    public string ConfigFields { get; init; } = "\"bias\": \"none\"";

    public DType DType { get; init; } = DType.F64;

    public int Rank => A.Length / Inputs;

    public double Scaling => UseRsLora ? Alpha / Math.Sqrt(Rank) : Alpha / Rank;

    private string Config => $$"""
        {"peft_type": "LORA", "r": {{Rank}}, "lora_alpha": {{Alpha:R}}, "use_rslora": {{(UseRsLora ? "true" : "false")}},
        "target_modules": ["layer"], "base_model_name_or_path": "tiny", {{ConfigFields}}}
        """;

    /// <summary>Writes the adapter's folder.</summary>
    public string Save(string folder)
    {
        MemoryModel model = ToModel();
        model.SaveTo(TensorSink.To(folder, model));
        return folder;
    }

    /// <summary>Returns the adapter in memory.</summary>
    public MemoryModel ToModel()
    {
        var model = new MemoryModel(adapterConfig: PeftAdapterConfig.Parse(System.Text.Encoding.UTF8.GetBytes(Config), "config"));
        Add(model, ".lora_A.weight", [Rank, Inputs], A);
        Add(model, ".lora_B.weight", [B.Length / Rank, Rank], B);
        return model;
    }

    /// <summary>Aggregates adapters and reads the result.</summary>
    public static LoraResult Run(string rule, IReadOnlyList<LoraClient> clients, LoraClient global, params string[] options)
    {
        using var place = new TempFolder();
        using TensorSource model = TensorSource.Open(global.Save(place["global"]));
        ConfiguredRound configured = StrategyRegistry.Default.Create(
            rule, options.Select(option => KeyValuePair.Create(option.Split('=')[0], option.Split('=')[1])));
        var round = new AggregationRound(model, configured.Options);
        foreach ((int k, LoraClient client) in clients.Index())
            round.Add(ClientUpdate.FromFile($"{k:D2}", client.Save(place[$"client-{k:D2}"]), client.Examples));
        AggregationResult result =
            configured.Aggregator.AggregateAsync(round, TensorSink.To(place["next"], model)).GetAwaiter().GetResult();
        using PeftAdapter next = PeftAdapter.Open(place["next"]);
        Assert.That(result.AdapterConfig!.RawJson.ToArray(), Is.EqualTo(next.Config.RawJson.ToArray()));
        return new LoraResult(
            Models.ToDoubles(next, Module + ".lora_A.weight"), Models.ToDoubles(next, Module + ".lora_B.weight"), next.Config,
            result.Report);
    }

    private void Add(MemoryModel model, string name, long[] shape, double[] values)
    {
        (TensorInfo info, byte[] bytes) = Models.Tensor(Module + name, DType, shape, i => values[i]);
        model.Add(info, bytes);
    }
}
