using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>
/// Tests an adapter of any PEFT type: its configuration, its folder, and a round with it among three clients.
/// </summary>
internal sealed class AdapterTarget : FuzzTarget
{
    /// <summary>PEFT's types, each with fields that PEFT writes for it.</summary>
    private static readonly (string Type, (string Name, string Literal)[] Fields)[] Types =
    [
        ("LORA", [("r", "2"), ("lora_alpha", "8"), ("use_rslora", "false"), ("use_dora", "false"), ("rank_pattern", "{}"),
            ("alpha_pattern", "{\"m\":4.5}"), ("modules_to_save", "[\"head\"]"), ("bias", "\"none\"")]),
        ("LORA", [("r", "2"), ("lora_alpha", "8.5"), ("use_rslora", "true"), ("use_dora", "true"), ("target_parameters", "[\"experts.w\"]"),
            ("rank_pattern", "{\"m\":1}"), ("init_lora_weights", "true")]),
        ("ADALORA", [("r", "8"), ("lora_alpha", "8"), ("target_r", "8"), ("init_r", "12"), ("rank_pattern", "{\"m.lora_E\":[true,false]}"),
            ("tinit", "0")]),
        ("LOHA", [("r", "8"), ("alpha", "8"), ("rank_pattern", "{}"), ("alpha_pattern", "{}"), ("use_effective_conv2d", "false")]),
        ("LOKR", [("r", "8"), ("alpha", "8"), ("decompose_both", "false"), ("decompose_factor", "-1")]),
        ("VERA", [("r", "256"), ("projection_prng_key", "0"), ("save_projection", "true"), ("vera_dropout", "0.0"), ("d_initial", "0.1")]),
        ("OFT", [("r", "0"), ("oft_block_size", "32"), ("coft", "false"), ("eps", "6e-05"), ("block_share", "false")]),
        ("BOFT", [("boft_block_size", "4"), ("boft_block_num", "0"), ("boft_n_butterfly_factor", "1")]),
        ("IA3", [("feedforward_modules", "[\"down\"]"), ("init_ia3_weights", "true")]),
        ("PROMPT_TUNING", [("num_virtual_tokens", "8"), ("token_dim", "16"), ("prompt_tuning_init", "\"RANDOM\"")]),
        ("PREFIX_TUNING", [("num_virtual_tokens", "8"), ("prefix_projection", "false"), ("encoder_hidden_size", "null")]),
        ("P_TUNING", [("num_virtual_tokens", "8"), ("encoder_reparameterization_type", "\"MLP\"")]),
        ("LN_TUNING", []),
        ("HRA", [("r", "8"), ("apply_GS", "false")]),
        ("FOURIERFT", [("n_frequency", "1000"), ("scaling", "150.0"), ("random_loc_seed", "777")]),
        ("NEWTYPE", [("anything", "{\"deep\":[1,2.5,null]}"), ("r", "[1]")]),
    ];

    public override string Name => "adapter";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        (string type, (string Name, string Literal)[] fields) = choices.Of(Types);
        Json config = Config(type, fields);
        byte[] valid = config.ToBytes();
        int changes = Mutations.Count(choices);
        for (int i = 0; i < changes; i++)
            Mutations.Mutate(config, choices);
        byte[] bytes = changes > 0 && choices.OneIn(8) ? Mutations.Mutate(config.ToBytes(), choices) : config.ToBytes();
        ModelDraft tensors = Tensors(choices.Below(100) + 10);
        return
        [
            new("changes", changes == 0 ? "none" : "some"), new("global/adapter_config.json", valid),
            new("b/adapter_config.json", bytes),
            new("b/adapter_model.safetensors", tensors.ToBytes()),
        ];
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        place.PutAll(input, "global/");
        place.PutAll(input, "b/");
        foreach ((string id, int seed) in ((string, int)[])[("global", 1), ("a", 2), ("c", 3)])
        {
            place.Put(id + "/adapter_config.json", input["global/adapter_config.json"]);
            place.Put(id + "/adapter_model.safetensors", Tensors(seed).ToBytes());
        }

        using TensorSource? global = library.Get("TensorSource.Open", () => TensorSource.Open(place["global"]), out Exception? invalid);
        FuzzFailure.Unless(global is not null, $"a valid configuration was refused: {invalid?.Message}",
            $"refuses a valid configuration: {invalid?.Message.Split('\'').Last()}");
        Exception? refusal = CheckConfig(input, library);
        CheckRound(input, place, library, global!);
        return refusal is null ? Outcome.Accepted : Outcome.Refused;
    }

    private static Exception? CheckConfig(FuzzInput input, Caller library)
    {
        PeftAdapterConfig valid = PeftAdapterConfig.Parse(input["global/adapter_config.json"], "global");
        PeftAdapterConfig? config = library.Get("PeftAdapterConfig.Parse", () =>
            PeftAdapterConfig.Parse(input["b/adapter_config.json"], "b"), out Exception? refusal);
        if (config is null)
            return refusal;
        FuzzFailure.Unless(config.RawJson.Span.SequenceEqual(input["b/adapter_config.json"]), "the configuration's bytes have changed");
        string? own = library.Get("DescribeDisagreement", () => config.DescribeDisagreement(config), out _);
        string? mine = library.Get("DescribeDisagreement", () => config.DescribeDisagreement(valid), out _);
        string? theirs = library.Get("DescribeDisagreement", () => valid.DescribeDisagreement(config), out _);
        FuzzFailure.Unless(own is null, $"a configuration disagrees with itself: {own}", "a configuration disagrees with itself");
        FuzzFailure.Unless(mine is null == theirs is null, "the agreement of two configurations depends on their order");
        if (mine is not null)
            Caller.CheckSentence(mine + ".", "DescribeDisagreement", "DescribeDisagreement");
        return null;
    }

    private static void CheckRound(FuzzInput input, FuzzPlace place, Caller library, TensorSource global)
    {
        ClientUpdate[] updates = [.. ((string[])["a", "b", "c"]).Select(id => ClientUpdate.FromFile(id, place[id], examples: 1))];
        using var sink = new MemorySink();
        Exception? refusal = Rounds.Run(library, new RoundOptions { Threads = 1 }, sink, updates, out _, global: global);
        FuzzFailure.Unless(refusal is null || input.Text("changes") != "none", $"valid adapters were refused: {refusal?.Message}",
            "refuses valid adapters");
        using var others = new MemorySink();
        refusal = Rounds.Run(library, Rounds.WithDropClient(new RoundOptions { Quorum = 1, Threads = 1 }), others, updates, out _,
            global: global);
        FuzzFailure.Unless(refusal is null, $"a round that drops faulty clients was refused: {refusal?.Message}",
            "one configuration ends the round");
    }

    private static Json Config(string type, (string Name, string Literal)[] fields)
    {
        Json config = Json.Object(
            ("peft_type", Json.Text(type)), ("base_model_name_or_path", Json.Text("org/base")), ("task_type", Json.Text("CAUSAL_LM")),
            ("inference_mode", Json.Value("true")),
            ("target_modules", Json.Array(Json.Text("m"), Json.Text("n"))), ("revision", Json.Value("null")));
        foreach ((string name, string literal) in fields)
            config.Add(name, Json.Value(literal));
        return config;
    }

    private static ModelDraft Tensors(int seed)
    {
        var choices = new Choices((ulong)seed, "adapter", 0);
        return new ModelDraft
        {
            Tensors =
            [
                ModelDraft.Tensor("base_model.model.m.lora_A.weight", "F32", [2, 4], _ => choices.Value()),
                ModelDraft.Tensor("base_model.model.m.lora_B.weight", "F32", [3, 2], _ => choices.Value()),
                ModelDraft.Tensor("base_model.model.head.weight", "F16", [5], _ => choices.Value()),
            ],
        };
    }
}
