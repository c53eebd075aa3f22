using System.Collections.Frozen;
using System.Text.Json;

namespace FedICU.Files.Adapters;

/// <summary>
/// For each type of adapter, the fields of adapter_config.json that decide whether adapters can be averaged, with
/// PEFT's defaults (from its configuration classes, August 2026). Fields that only affect training do not decide:
/// dropouts, schedules, and seeds of an initialization that the files contain.
/// </summary>
internal static class PeftFields
{
    public const string Type = "peft_type";
    public const string BaseModel = "base_model_name_or_path";
    public const string InitialWeights = "init_lora_weights";

    /// <summary>The type of a LoRA adapter, and of a configuration that states no type.</summary>
    public const string Lora = "LORA";

    // Fields that every type may have. They are compared after the type's own fields.
    private const string Common = """
        {"target_modules": null, "base_model_name_or_path": null, "exclude_modules": null, "modules_to_save": null,
            "layers_to_transform": null, "layers_pattern": null, "fan_in_fan_out": false, "bias": "none"}
        """;

    private const string Prompt = """
        "num_virtual_tokens": null, "token_dim": null, "num_transformer_submodules": null, "num_attention_heads": null, "num_layers": null
        """;

    private const string ByType = $$$"""
        {
            "LORA": {"r": 8, "lora_alpha": 8, "use_rslora": false, "use_dora": false, "target_parameters": null,
                "rank_pattern": {}, "alpha_pattern": {}, "lora_bias": false, "init_lora_weights": true, "layer_replication": null,
                "trainable_token_indices": null, "use_qalora": false, "qalora_group_size": 16, "alora_invocation_tokens": null,
                "use_bdlora": null, "arrow_config": null, "kasa_config": null, "monteclora_config": null,
                "ensure_weight_tying": false, "megatron_config": null},
            "ADALORA": {"init_r": 12, "target_r": 8, "lora_alpha": 8, "rank_pattern": null, "trainable_token_indices": null},
            "ADAMSS": {"r": 100, "num_subspaces": 5, "subspace_rank": 1, "use_dynamic_rank": false, "svd_threshold": 0.1,
                "random_seed": 0, "use_asa": false},
            "ADAPTION_PROMPT": {"adapter_len": null, "adapter_layers": null},
            "BEFT": {},
            "BOFT": {"boft_block_size": 4, "boft_block_num": 0, "boft_n_butterfly_factor": 1},
            "BONE": {"r": 64, "init_weights": true},
            "C3A": {"block_size": 256, "block_size_pattern": {}},
            "CARTRIDGE": {{{{Prompt}}}, "num_frozen_tokens": 1},
            "CPT": {{{{Prompt}}}, "cpt_token_ids": null, "cpt_mask": null, "cpt_tokens_type_mask": null},
            "DEFT": {"r": 8, "alpha": null, "decomposition_method": "relu", "para": false},
            "DELORA": {"r": 8, "delora_lambda": 15, "rank_pattern": {}, "lambda_pattern": {}},
            "FOURIERFT": {"n_frequency": 1000, "scaling": 150, "random_loc_seed": 777, "n_frequency_pattern": {}},
            "FROD": {"projection_prng_key": 0, "save_projection": true, "sparse_rate": 0.01, "regularization_alpha": 0.001},
            "GLORA": {"r": 8, "config_A_B": "lora", "config_C": "lora", "config_D_E": "constant"},
            "GRALORA": {"r": 32, "hybrid_r": 0, "alpha": 64, "gralora_k": 2},
            "HIRA": {"r": 32, "rank_pattern": {}},
            "HRA": {"r": 8, "apply_GS": false},
            "IA3": {"feedforward_modules": null},
            "LILY": {"r": 32, "stride_A": 1, "num_B": 2, "scaling": 1},
            "LN_TUNING": {},
            "LOHA": {"r": 8, "alpha": 8, "use_effective_conv2d": false, "rank_pattern": {}, "alpha_pattern": {}},
            "LOKR": {"r": 8, "alpha": 8, "use_effective_conv2d": false, "decompose_both": false, "decompose_factor": -1,
                "rank_pattern": {}, "alpha_pattern": {}},
            "MISS": {"r": 64, "mini_r": 1, "init_weights": true},
            "MULTITASK_PROMPT_TUNING": {{{{Prompt}}}, "num_ranks": 1, "num_tasks": 1},
            "OFT": {"r": 0, "oft_block_size": 32, "coft": false, "eps": 6e-05, "block_share": false, "use_cayley_neumann": true,
                "num_cayley_neumann_terms": 5},
            "OSF": {"effective_rank": null, "rank_pattern": null, "target_svd_config": null},
            "PEANUT": {"r": 32, "depth": 0, "act_fn": "relu", "scaling": 1},
            "POLY": {"r": 8, "poly_type": "poly", "n_tasks": 1, "n_skills": 4, "n_splits": 1},
            "PREFIX_TUNING": {{{{Prompt}}}, "encoder_hidden_size": null, "prefix_projection": false},
            "PROMPT_TUNING": {{{{Prompt}}}},
            "PSOFT": {"r": 32, "psoft_alpha": 32, "ab_svd_init": "psoft_init", "psoft_svd": "full", "random_seed": 0,
                "psoft_orth": true, "psoft_mag_b": true, "psoft_mag_a": true, "use_cayley_neumann": false,
                "num_cayley_neumann_terms": 5, "cayley_neumann_eps": null},
            "PVERA": {"r": 256, "projection_prng_key": 0, "save_projection": true, "d_initial": 0.1,
                "sample_at_inference": false},
            "P_TUNING": {{{{Prompt}}}, "encoder_reparameterization_type": "MLP", "encoder_hidden_size": null,
                "encoder_num_layers": 2},
            "RANDLORA": {"r": 32, "randlora_alpha": 640, "projection_prng_key": 0, "save_projection": true, "sparse": false,
                "very_sparse": false},
            "ROAD": {"variant": "road_1", "group_size": 64},
            "SHIRA": {"r": 32, "mask_type": "random", "random_seed": null},
            "SUPERTUNING": {"r": null, "lora_alpha": null, "sparsity": 0.99, "select_top": true,
                "save_precomputed_indices": true},
            "TINYLORA": {"r": 2, "u": 64, "weight_tying": 0, "projection_seed": 42, "save_projection": true},
            "TRAINABLE_TOKENS": {"token_indices": null},
            "UNILORA": {"r": 4, "proj_seed": 42, "theta_d_length": 256, "save_indices": false},
            "VBLORA": {"r": 4, "num_vectors": 256, "vector_length": 256, "topk": 2, "save_only_topk_weights": false},
            "VERA": {"r": 256, "projection_prng_key": 0, "save_projection": true, "d_initial": 0.1},
            "WAVEFT": {"n_frequency": 2592, "scaling": 25, "wavelet_family": "db1", "use_idwt": true, "random_loc_seed": 777,
                "n_frequency_pattern": {}, "proportional_parameters": false},
            "XLORA": {"hidden_size": null, "enable_softmax": true, "enable_softmax_topk": false, "layerwise_scalings": false,
                "xlora_depth": 1, "xlora_size": 2048, "use_trainable_adapters": false, "softmax_temperature": 1, "top_k_lora": null,
                "scaling_pass_value": 0, "global_scaling_weight": 1}
        }
        """;

    // For unknown types: fields that give a location, a version or a use say nothing about the tensors.
    private static readonly FrozenSet<string> NotDeciding = FrozenSet.Create(
        StringComparer.Ordinal, Type, BaseModel, "task_type", "inference_mode", "auto_mapping", "peft_version", "runtime_config");

    private static readonly FrozenDictionary<string, (string Name, JsonElement Default)[]> Known = ReadKnown();

    /// <summary>
    /// Returns the deciding fields of a type with their defaults, the type's own fields first; null if the type is
    /// unknown.
    /// </summary>
    public static IReadOnlyList<(string Name, JsonElement Default)>? Of(string type) => Known.GetValueOrDefault(type);

    /// <summary>
    /// Determines whether a field of LoRA only states ranks and scalings, which mixed adapters may differ in.
    /// </summary>
    public static bool IsRank(string field) => field is "r" or "lora_alpha" or "use_rslora" or "rank_pattern" or "alpha_pattern";

    /// <summary>Determines whether a value of init_lora_weights makes PEFT change the base model's weights.</summary>
    public static bool ChangesBase(string initialWeights) => Array.Exists(
        (string[])["pissa", "corda", "olora", "loftq", "lora_ga"],
        name => initialWeights.StartsWith(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>Determines whether a field decides for an unknown type.</summary>
    public static bool Decides(string field) =>
        !NotDeciding.Contains(field) &&
        !field.EndsWith("_path", StringComparison.Ordinal) && !field.EndsWith("_paths", StringComparison.Ordinal) &&
        !field.EndsWith("revision", StringComparison.Ordinal);

    private static FrozenDictionary<string, (string Name, JsonElement Default)[]> ReadKnown()
    {
        using JsonDocument common = JsonDocument.Parse(Common), own = JsonDocument.Parse(ByType);
        return own.RootElement.EnumerateObject().ToFrozenDictionary(
            type => type.Name,
            type => type.Value.EnumerateObject().Concat(common.RootElement.EnumerateObject())
                .Select(field => (field.Name, field.Value.Clone())).ToArray(),
            StringComparer.Ordinal);
    }
}
