using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using FedICU.Files;
using FedICU.Files.Adapters;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// The adapter_config.json of a PEFT adapter: the type of the adapter, and the fields that decide whether adapters can
/// be averaged. An absent field has PEFT's default.
/// </summary>
public sealed class PeftAdapterConfig
{
    /// <summary>
    /// The largest accepted file in bytes; chosen. Real files have a few thousand bytes. One that gives a rank for each
    /// expert of a large model has two million.
    /// </summary>
    internal const int MaxLength = 4_000_000;

    // Entries, chosen: each module is matched against every pattern in turn.
    private const int MaxPatterns = 1 << 16;
    // Fields that ToString shows, chosen so that a line stays short; known types have fewer.
    private const int MaxFacts = 40;

    private PeftAdapterConfig(byte[] json, JsonElement root, string location)
    {
        RawJson = json;
        var fields = new ConfigFields(root, location);
        PeftType = fields.ReadText(PeftFields.Type);
        BaseModel = fields.ReadText(PeftFields.BaseModel);
        if (!IsLora)
        {
            // Other types define their fields themselves, so unusual values are accepted.
            Rank = fields.ReadIntegerOrDefault("r", Default("r"));
            LoraAlpha = fields.ReadNumberOrDefault("lora_alpha", Default("lora_alpha"));
            return;
        }

        Rank = fields.ReadInteger("r", absent: 8);
        LoraAlpha = fields.ReadNumber("lora_alpha", absent: 8);
        UseRsLora = fields.ReadBoolean("use_rslora");
        UseDora = fields.ReadBoolean("use_dora");
        fields.ReadNames("target_modules");
        fields.ReadNames("modules_to_save");
        int patterns =
            fields.ReadPattern("rank_pattern", fields.ToInteger).Count + fields.ReadPattern("alpha_pattern", fields.ToNumber).Count;
        if (patterns > MaxPatterns)
        {
            throw new InvalidModelException(
                $"'{location}' has {patterns} entries in rank_pattern and alpha_pattern; at most {MaxPatterns} were expected.");
        }
    }

    /// <summary>Parses the text of an adapter_config.json.</summary>
    /// <param name="json">The text in UTF-8. It is copied.</param>
    /// <param name="location">The name of the configuration in messages, for example the file's path.</param>
    /// <exception cref="InvalidModelException">
    /// The text is not a JSON object, or a field has a value that PEFT would not accept. The message is one sentence.
    /// </exception>
    public static PeftAdapterConfig Parse(ReadOnlySpan<byte> json, string location)
    {
        byte[] copy = json.ToArray();
        try
        {
            using var document = JsonDocument.Parse(copy, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new InvalidModelException($"'{location}' is {Sentence.Kind(document.RootElement.ValueKind)}, expected an object.");
            RequireUnicode(document.RootElement);
            return new PeftAdapterConfig(copy, document.RootElement, location);
        }
        catch (JsonException e)
        {
            string fault = e.LineNumber is { } line
                ? $"the fault is at byte {e.BytePositionInLine + 1} of line {line + 1}"
                : "an object holds a name twice";
            throw new InvalidModelException($"'{location}' is not valid JSON: {fault}{FileHint.Describe(json, expectsJson: true)}.", e);
        }
        catch (InvalidOperationException e)
        {
            // The reader checks a string only when its text is requested.
            throw new InvalidModelException($"'{location}' holds a string that is not valid Unicode.", e);
        }
    }

    /// <summary>Gets the file's bytes, for a copy beside an aggregated adapter.</summary>
    public ReadOnlyMemory<byte> RawJson { get; }

    /// <summary>
    /// Gets peft_type, for example <c>LORA</c>; null if the file does not state it. Such a file is read as LoRA.
    /// </summary>
    public string? PeftType { get; }

    /// <summary>
    /// Gets r. For LoRA this is the rank of the factors, at least 1, and 8 if absent. For other types it is the file's
    /// value or the type's default; 0 if the type has none.
    /// </summary>
    public int Rank { get; }

    /// <summary>
    /// Gets lora_alpha, 8 if absent. LoRA scales its product by alpha / r, or by alpha / sqrt(r) with
    /// <see cref="UseRsLora"/>. For other types it is the file's value or the type's default; 0 if the type has none.
    /// </summary>
    public double LoraAlpha { get; }

    /// <summary>Gets use_rslora; false for types other than LoRA.</summary>
    public bool UseRsLora { get; }

    /// <summary>Gets fan_in_fan_out: whether the base model's layers hold their weights transposed.</summary>
    internal bool FanInFanOut => IsLora && Read(fields => fields.ReadBoolean("fan_in_fan_out"));

    /// <summary>Gets use_dora; false for types other than LoRA.</summary>
    public bool UseDora { get; }

    /// <summary>
    /// Gets target_modules: the names in ordinal order, or a single pattern if the file has a string. Empty if the
    /// field is absent or has another form.
    /// </summary>
    public ImmutableSortedSet<string> TargetModules => Read(fields => fields.ReadNamesOrNone("target_modules"));

    /// <summary>Gets base_model_name_or_path; null if absent.</summary>
    public string? BaseModel { get; }

    /// <summary>
    /// Gets rank_pattern: the ranks of LoRA modules that differ from <see cref="Rank"/>, in ordinal order of the
    /// patterns. Empty for other types.
    /// </summary>
    public ImmutableSortedDictionary<string, int> RankPattern => RanksAsWritten().ToImmutableSortedDictionary(StringComparer.Ordinal);

    /// <summary>
    /// Gets alpha_pattern: the alphas of LoRA modules that differ from <see cref="LoraAlpha"/>, in ordinal order of the
    /// patterns. Empty for other types.
    /// </summary>
    public ImmutableSortedDictionary<string, double> AlphaPattern => AlphasAsWritten().ToImmutableSortedDictionary(StringComparer.Ordinal);

    /// <summary>
    /// Gets modules_to_save: the modules that are trained and stored as a whole, in ordinal order. Empty if the field
    /// is absent or has another form.
    /// </summary>
    public ImmutableSortedSet<string> ModulesToSave => Read(fields => fields.ReadNamesOrNone("modules_to_save"));

    /// <summary>
    /// Describes the first field that prevents averaging this adapter with another, with both values: <c>lora_alpha 16
    /// against 32</c>.
    /// </summary>
    /// <param name="other">The other adapter's configuration.</param>
    /// <param name="ignoreBase">
    /// Whether base_model_name_or_path is ignored, for adapters that give the same base model under different paths.
    /// </param>
    /// <returns>
    /// Null if peft_type and the fields that decide for that type agree (docs/algorithms.md, Adapter configurations).
    /// For an unknown type, all fields decide except paths, revisions, task_type, inference_mode and auto_mapping.
    /// </returns>
    public string? DescribeDisagreement(PeftAdapterConfig other, bool ignoreBase = false)
    {
        ArgumentNullException.ThrowIfNull(other);
        return ConfigComparison.DescribeDisagreement(this, other, ignoreBase);
    }

    /// <summary>
    /// Returns the type and the main facts of the adapter: <c>LORA adapter, r 4, lora_alpha 8, target_modules q_proj,
    /// base org/model</c>.
    /// </summary>
    public override string ToString()
    {
        using JsonDocument document = JsonDocument.Parse(RawJson);
        JsonElement root = document.RootElement;
        List<string> facts = [$"{Sentence.Clean(PeftType ?? "PEFT")} adapter"];
        if (IsLora)
        {
            facts.Add(string.Create(CultureInfo.InvariantCulture, $"r {Rank}"));
            facts.Add(string.Create(CultureInfo.InvariantCulture, $"lora_alpha {LoraAlpha:R}"));
        }

        foreach ((string field, JsonElement value) in ConfigComparison.DecidingFields(this, root).Take(MaxFacts))
        {
            bool isElsewhere = field is "bias" or "target_modules" or PeftFields.BaseModel or PeftFields.InitialWeights ||
                IsLora && field is "r" or "lora_alpha";
            if (isElsewhere || !root.TryGetProperty(field, out _))
                continue;
            if (value.ValueKind == JsonValueKind.True)
                facts.Add(Sentence.Clean(field));
            else if (value.ValueKind is JsonValueKind.Number or JsonValueKind.String)
                facts.Add($"{Sentence.Clean(field)} {Sentence.Clean(value.ToString())}");
        }

        ImmutableSortedSet<string> targets = TargetModules;
        if (targets.Count > 0 || IsLora)
            facts.Add($"target_modules {Sentence.Clean(string.Join(", ", targets))}");
        return string.Join(", ", facts.Append($"base {Sentence.Clean(BaseModel ?? "not stated")}"));
    }

    /// <summary>Returns a text that is equal exactly for configurations that agree.</summary>
    internal string DecidingKey(bool ignoreRanks = false) => ConfigComparison.KeyOf(this, ignoreRanks);

    /// <summary>Gets whether this is a LoRA adapter. A file that states no type is read as one.</summary>
    internal bool IsLora => PeftType is null or PeftFields.Lora;

    /// <summary>
    /// Returns the reason why the modules' weights are not simply changed by B A, or null if the configuration
    /// describes plain LoRA.
    /// </summary>
    /// <remarks>
    /// lora_bias is plain LoRA, because the bias is a separate tensor beside B A. So are the initializations (PiSSA,
    /// LoftQ, OLoRA, EVA, CorDA) and aLoRA. They decide when or from which values B A is trained, not what it is. MiCA
    /// is not plain: its B is frozen and must not change.
    /// </remarks>
    internal string? WhyNotPlainLora() => !IsLora ? $"peft_type {Sentence.Clean(PeftType!)}" : Read(fields =>
        UseDora ? "DoRA"
        : fields.IsOn("kasa_config") ? "KaSA"
        : fields.IsOn("use_bdlora") ? "BD-LoRA"
        : fields.IsOn("use_qalora") ? "QA-LoRA"
        : fields.IsOn("monteclora_config") ? "MonteCLoRA"
        : fields.IsOn("arrow_config") ? "Arrow"
        : string.Equals(fields.ReadTextOrNull(PeftFields.InitialWeights), "mica", StringComparison.OrdinalIgnoreCase) ? "MiCA"
        : null);

    /// <summary>
    /// Returns the reason why a plain LoRA adapter cannot be added to a base model's weights as W + s B A, or null if
    /// it can.
    /// </summary>
    /// <remarks>
    /// aLoRA changes a part of the tokens. PiSSA, CorDA, OLoRA and LoRA-GA subtract the initial s B A from the base
    /// model, and LoftQ quantizes it. PEFT does so again when it loads such an adapter. An adapter that PEFT has
    /// converted to plain LoRA states true instead. EVA, orthogonal and Gaussian initializations leave the base model
    /// as it is.
    /// </remarks>
    internal string? WhyNotFusible() => Read(fields =>
        fields.IsOn("alora_invocation_tokens") ? "alora_invocation_tokens (aLoRA changes some tokens only)"
        : fields.IsOn("layer_replication") ? "layer_replication (its layers are not those of the base model)"
        : fields.ReadTextOrNull(PeftFields.InitialWeights) is { } initial && PeftFields.ChangesBase(initial)
            ? $"init_lora_weights {Sentence.Clean(initial)} (it belongs to a base model that this initialization has changed)"
        : null);

    /// <summary>
    /// Returns target_parameters: the parameters that LoRA changes directly, without a module. They often cover several
    /// experts at once.
    /// </summary>
    internal ImmutableSortedSet<string> TargetParameters() => Read(fields => fields.ReadNamesOrNone("target_parameters"));

    /// <summary>Returns rank_pattern in the order of the file, in which PEFT tries the patterns.</summary>
    internal List<KeyValuePair<string, int>> RanksAsWritten() =>
        !IsLora ? [] : Read(fields => fields.ReadPattern("rank_pattern", fields.ToInteger));

    /// <summary>Returns alpha_pattern in the order of the file, in which PEFT tries the patterns.</summary>
    internal List<KeyValuePair<string, double>> AlphasAsWritten() =>
        !IsLora ? [] : Read(fields => fields.ReadPattern("alpha_pattern", fields.ToNumber));

    private double Default(string field) =>
        PeftFields.Of(PeftType!)?.FirstOrDefault(known => known.Name == field).Default is { ValueKind: JsonValueKind.Number } value
            ? value.GetDouble()
            : 0;

    /// <summary>
    /// Parses the text again to read a field. Keeping the parsed fields of thousands of clients would take too much
    /// memory.
    /// </summary>
    private T Read<T>(Func<ConfigFields, T> read)
    {
        using JsonDocument document = JsonDocument.Parse(RawJson);
        return read(new ConfigFields(document.RootElement, "adapter_config.json"));
    }

    /// <summary>Requests the text of every string once, so that later reads cannot fail.</summary>
    private static void RequireUnicode(JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                _ = value.GetString();
                break;
            case JsonValueKind.Array:
                foreach (JsonElement item in value.EnumerateArray())
                    RequireUnicode(item);
                break;
            case JsonValueKind.Object:
                foreach (JsonProperty property in value.EnumerateObject())
                {
                    _ = property.Name;
                    RequireUnicode(property.Value);
                }

                break;
        }
    }
}
