using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FedICU.Files;
using FedICU.Files.Adapters;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// A PEFT adapter's adapter_config.json: which type of adapter it is, and the fields that decide whether adapters can be averaged. A field
/// that is absent has PEFT's
/// default.
/// </summary>
public sealed class PeftAdapterConfig
{
    /// <summary>
    /// The longest file accepted, in bytes; real ones have a few thousand, one with a rank for each expert of a large model two million.
    /// </summary>
    internal const int MaxLength = 4_000_000;

    // patterns are tried one by one against each module
    private const int MostPatterns = 1 << 16;
    private const string Lora = "LORA";
    // a line shows no more of them; known types have fewer
    private const int MostFacts = 40;

    private PeftAdapterConfig(byte[] json, JsonElement root, string location)
    {
        RawJson = json;
        var fields = new ConfigFields(root, location);
        PeftType = fields.Text(PeftFields.Type);
        BaseModel = fields.Text(PeftFields.BaseModel);
        if (!IsLora)
        {
            // what the fields of other types may hold is theirs to say
            Rank = fields.IntegerOrDefault("r", Default("r"));
            LoraAlpha = fields.NumberOrDefault("lora_alpha", Default("lora_alpha"));
            return;
        }

        Rank = fields.Integer("r", absent: 8);
        LoraAlpha = fields.Number("lora_alpha", absent: 8);
        UseRsLora = fields.Truth("use_rslora");
        UseDora = fields.Truth("use_dora");
        fields.Names("target_modules");
        fields.Names("modules_to_save");
        int patterns = fields.Pattern("rank_pattern", fields.AsInteger).Count + fields.Pattern("alpha_pattern", fields.AsNumber).Count;
        if (patterns > MostPatterns)
        {
            throw new InvalidModelException(
                $"'{location}' has {patterns} entries in rank_pattern and alpha_pattern; at most {MostPatterns} were expected.");
        }
    }

    /// <summary>Reads the text of an adapter_config.json.</summary>
    /// <param name="json">The text in UTF-8; copied.</param>
    /// <param name="location">What messages call it, for example the file's path.</param>
    /// <exception cref="InvalidModelException">The text is no JSON object, or a field has a value PEFT would not take; the message is one
    /// sentence.</exception>
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
            throw new InvalidModelException($"'{location}' is not valid JSON: {fault}{FileHint.After(json, expectsJson: true)}.", e);
        }
        catch (InvalidOperationException e)
        {
            // a string is checked only when it is asked for
            throw new InvalidModelException($"'{location}' holds a string that is not valid Unicode.", e);
        }
    }

    /// <summary>The file's bytes as they were, for a copy beside an aggregated adapter.</summary>
    public ReadOnlyMemory<byte> RawJson { get; }

    /// <summary>peft_type, for example <c>LORA</c>; null where the file does not say, and then it is read as LoRA's.</summary>
    public string? PeftType { get; }

    /// <summary>
    /// r: of LoRA the rank of the factors, at least 1, 8 where absent; of other types what the file says, or their default; 0 where they
    /// have none.
    /// </summary>
    public int Rank { get; }

    /// <summary>
    /// lora_alpha: LoRA's product is scaled by alpha / r (alpha / sqrt(r) with <see cref="UseRsLora"/>); 8 where absent. Of other types as
    /// <see cref="Rank"/>.
    /// </summary>
    public double LoraAlpha { get; }

    /// <summary>use_rslora; of LoRA alone.</summary>
    public bool UseRsLora { get; }

    /// <summary>use_dora; of LoRA alone.</summary>
    public bool UseDora { get; }

    /// <summary>
    /// target_modules: the names in ordinal order, or the one pattern where the file holds a string; empty where absent or of another form.
    /// </summary>
    public ImmutableSortedSet<string> TargetModules => Read(fields => fields.NamesOrNone("target_modules"));

    /// <summary>base_model_name_or_path; null where absent.</summary>
    public string? BaseModel { get; }

    /// <summary>
    /// rank_pattern: ranks of LoRA's modules that differ from <see cref="Rank"/>, in ordinal order of the patterns; empty for other types.
    /// </summary>
    public ImmutableSortedDictionary<string, int> RankPattern => RanksAsWritten().ToImmutableSortedDictionary(StringComparer.Ordinal);

    /// <summary>
    /// alpha_pattern: alphas of LoRA's modules that differ from <see cref="LoraAlpha"/>, in ordinal order of the patterns; empty for other
    /// types.
    /// </summary>
    public ImmutableSortedDictionary<string, double> AlphaPattern => AlphasAsWritten().ToImmutableSortedDictionary(StringComparer.Ordinal);

    /// <summary>modules_to_save: modules trained and stored whole, in ordinal order; empty where absent or of another form.</summary>
    public ImmutableSortedSet<string> ModulesToSave => Read(fields => fields.NamesOrNone("modules_to_save"));

    /// <summary>
    /// The first field in which averaging this adapter with another would go wrong, with both values: <c>lora_alpha 16 against 32</c>.
    /// </summary>
    /// <param name="other">The other adapter's config.</param>
    /// <param name="ignoreBase">
    /// Whether base_model_name_or_path is left out, for adapters that name one base model by paths of their own.
    /// </param>
    /// <returns>
    /// Null where peft_type and the fields that decide for that type agree (docs/algorithms.md, Adapter configurations). Of a type that is
    /// not known, all fields decide but paths, revisions, task_type, inference_mode and auto_mapping.
    /// </returns>
    public string? DescribeDisagreement(PeftAdapterConfig other, bool ignoreBase = false)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (RawJson.Span.SequenceEqual(other.RawJson.Span))
            return null;
        if ((PeftType ?? Lora) != (other.PeftType ?? Lora))
            return Against(PeftFields.Type, Shown(PeftType), Shown(other.PeftType));
        using JsonDocument mine = JsonDocument.Parse(RawJson), theirs = JsonDocument.Parse(other.RawJson);
        var others = other.Deciding(theirs.RootElement).ToDictionary(field => field.Name, field => field.Value, StringComparer.Ordinal);
        foreach ((string name, JsonElement value) in Deciding(mine.RootElement))
        {
            others.Remove(name, out JsonElement found);
            if (!(ignoreBase && name == PeftFields.BaseModel) && !Same(name, value, found))
                return Against(name, ConfigValue.Show(value), ConfigValue.Show(found));
        }

        string? extra = others.Where(field => !ConfigValue.IsEmpty(field.Value)).Select(field => field.Key).Min(StringComparer.Ordinal);
        return extra is null ? null : Against(extra, "null", ConfigValue.Show(others[extra]));

        static string Shown(string? type) => type is null ? "null" : ConfigValue.Quote(type);

        static string Against(string field, string mine, string theirs) =>
            $"{Sentence.Clean(field)} {Sentence.Clean(mine)} against {Sentence.Clean(theirs)}";
    }

    /// <summary>
    /// The type and what it says of the adapter: <c>LORA adapter, r 4, lora_alpha 8, target_modules q_proj, base org/model</c>.
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

        foreach ((string field, JsonElement value) in Deciding(root).Take(MostFacts))
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

    /// <summary>A text that is the same exactly for configurations that agree.</summary>
    internal string DecidingKey()
    {
        using JsonDocument document = JsonDocument.Parse(RawJson);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, JsonElement value) in Deciding(document.RootElement).OrderBy(field => field.Name, StringComparer.Ordinal))
        {
            if (!ConfigValue.IsEmpty(value))
                hash.AppendData(Encoding.UTF8.GetBytes($"{ConfigValue.Quote(name)}: {ConfigValue.Quote(Compared(name, value))}\n"));
        }

        return $"{PeftType ?? Lora} {Convert.ToHexStringLower(hash.GetHashAndReset())}";
    }

    /// <summary>Whether the adapter is LoRA's, which a file that does not say is too.</summary>
    internal bool IsLora => PeftType is null or Lora;

    /// <summary>Why no module's weight is changed by B A; null where the configuration says plain LoRA.</summary>
    /// <remarks>
    /// lora_bias is plain: the bias is a tensor of its own beside B A. So are the initialisations (PiSSA, LoftQ, OLoRA, EVA, CorDA) and
    /// aLoRA, which say when or from
    /// where B A is trained, not what it is. MiCA is not: its B is frozen and must stay what it is.
    /// </remarks>
    internal string? WhyNotPlainLora() => !IsLora ? $"peft_type {Sentence.Clean(PeftType!)}" : Read(fields =>
        UseDora ? "DoRA"
        : fields.IsOn("kasa_config") ? "KaSA"
        : fields.IsOn("use_bdlora") ? "BD-LoRA"
        : fields.IsOn("use_qalora") ? "QA-LoRA"
        : fields.IsOn("monteclora_config") ? "MonteCLoRA"
        : fields.IsOn("arrow_config") ? "Arrow"
        : string.Equals(fields.TextOrNull(PeftFields.InitialWeights), "mica", StringComparison.OrdinalIgnoreCase) ? "MiCA"
        : null);

    /// <summary>
    /// target_parameters: the parameters, often of several experts at once, that LoRA changes without a module of their own.
    /// </summary>
    internal ImmutableSortedSet<string> TargetParameters() => Read(fields => fields.NamesOrNone("target_parameters"));

    /// <summary>rank_pattern in the order of the file, in which PEFT tries it.</summary>
    internal List<KeyValuePair<string, int>> RanksAsWritten() =>
        !IsLora ? [] : Read(fields => fields.Pattern("rank_pattern", fields.AsInteger));

    /// <summary>alpha_pattern in the order of the file, in which PEFT tries it.</summary>
    internal List<KeyValuePair<string, double>> AlphasAsWritten() =>
        !IsLora ? [] : Read(fields => fields.Pattern("alpha_pattern", fields.AsNumber));

    private static bool Same(string name, JsonElement mine, JsonElement theirs)
    {
        if (ConfigValue.IsEmpty(mine) || ConfigValue.IsEmpty(theirs))
            return ConfigValue.IsEmpty(mine) == ConfigValue.IsEmpty(theirs);
        return Compared(name, mine) == Compared(name, theirs);
    }

    private static string Compared(string name, JsonElement value) => name switch
    {
        PeftFields.BaseModel => value.GetString()!.TrimEnd('/', '\\'),
        // one layer is a list of one, and a set
        "layers_to_transform" when value.ValueKind == JsonValueKind.Number => $"[{ConfigValue.Show(value)}]",
        "layers_to_transform" when value.ValueKind == JsonValueKind.Array =>
            $"[{string.Join(", ", value.EnumerateArray().Select(ConfigValue.Show).Distinct().Order(StringComparer.Ordinal))}]",
        // these leave the base model's weights as they are, the others change what B A is added to
        PeftFields.InitialWeights when value.ValueKind is JsonValueKind.True or JsonValueKind.False ||
            value.ValueKind == JsonValueKind.String && value.GetString()!.ToLowerInvariant() is "gaussian" or "eva" or "orthogonal" => "",
        _ => ConfigValue.Show(value),
    };

    /// <summary>The fields that decide, with their values or the type's defaults.</summary>
    private IEnumerable<(string Name, JsonElement Value)> Deciding(JsonElement root)
    {
        if (PeftFields.Of(PeftType ?? Lora) is { } known)
            return known.Select(field => (field.Name, Stated(field.Name) ?? field.Default));
        IEnumerable<(string, JsonElement)> all =
            root.EnumerateObject().Where(field => PeftFields.Decides(field.Name)).Select(field => (field.Name, field.Value));
        return Stated(PeftFields.BaseModel) is { } model ? all.Append((PeftFields.BaseModel, model)) : all;

        JsonElement? Stated(string name) =>
            root.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    private double Default(string field) =>
        PeftFields.Of(PeftType!)?.FirstOrDefault(known => known.Name == field).Default is { ValueKind: JsonValueKind.Number } value
            ? value.GetDouble()
            : 0;

    /// <summary>Reads fields again from the text: kept, those of thousands of clients would take memory.</summary>
    private T Read<T>(Func<ConfigFields, T> read)
    {
        using JsonDocument document = JsonDocument.Parse(RawJson);
        return read(new ConfigFields(document.RootElement, "adapter_config.json"));
    }

    /// <summary>Asks for every string once, so that later reads do not fail.</summary>
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
