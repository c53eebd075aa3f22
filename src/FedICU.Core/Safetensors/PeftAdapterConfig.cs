using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using FedICU.Safetensors;

namespace FedICU;

/// <summary>
/// The fields of PEFT's adapter_config.json that decide whether adapters can be averaged. A field that is absent has PEFT's default; the others
/// are kept in <see cref="RawJson"/>, unread.
/// </summary>
public sealed class PeftAdapterConfig
{
    /// <summary>The longest file accepted, in bytes; real ones have a few thousand.</summary>
    internal const int MaxLength = 16_000_000;

    private readonly bool _targetsArePattern;

    private PeftAdapterConfig(byte[] json, ConfigFields fields)
    {
        RawJson = json;
        PeftType = fields.Text("peft_type");
        Rank = fields.Integer("r", absent: 8);
        LoraAlpha = fields.Number("lora_alpha", absent: 8);
        UseRsLora = fields.Truth("use_rslora");
        UseDora = fields.Truth("use_dora");
        (TargetModules, _targetsArePattern) = fields.Names("target_modules");
        BaseModel = fields.Text("base_model_name_or_path");
        RankPattern = fields.Pattern("rank_pattern", (element, name) => fields.AsInteger(element, name));
        AlphaPattern = fields.Pattern("alpha_pattern", (element, name) => fields.AsNumber(element, name));
        (ModulesToSave, _) = fields.Names("modules_to_save");
    }

    /// <summary>Reads the text of an adapter_config.json.</summary>
    /// <param name="json">The text in UTF-8; copied.</param>
    /// <param name="location">What messages call it, for example the file's path.</param>
    /// <exception cref="InvalidModelException">The text is no JSON object, or a field has a value PEFT would not take; the message is one sentence.</exception>
    public static PeftAdapterConfig Parse(ReadOnlySpan<byte> json, string location)
    {
        byte[] copy = json.ToArray();
        try
        {
            using var document = JsonDocument.Parse(copy, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new InvalidModelException($"'{location}' is {Sentence.Kind(document.RootElement.ValueKind)}, expected an object.");
            return new PeftAdapterConfig(copy, new ConfigFields(document.RootElement, location));
        }
        catch (JsonException e)
        {
            string fault = e.LineNumber is { } line ? $"the fault is at byte {e.BytePositionInLine + 1} of line {line + 1}" : "an object holds a name twice";
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

    /// <summary>peft_type, for example <c>LORA</c>; null where the file does not say.</summary>
    public string? PeftType { get; }

    /// <summary>r: the rank of the factors, at least 1; 8 where absent.</summary>
    public int Rank { get; }

    /// <summary>lora_alpha: the product is scaled by alpha / r (alpha / sqrt(r) with <see cref="UseRsLora"/>); 8 where absent.</summary>
    public double LoraAlpha { get; }

    /// <summary>use_rslora.</summary>
    public bool UseRsLora { get; }

    /// <summary>use_dora.</summary>
    public bool UseDora { get; }

    /// <summary>target_modules: the names in ordinal order, or the one pattern where the file holds a string; empty where absent.</summary>
    public ImmutableSortedSet<string> TargetModules { get; }

    /// <summary>base_model_name_or_path; null where absent.</summary>
    public string? BaseModel { get; }

    /// <summary>rank_pattern: ranks of modules that differ from <see cref="Rank"/>, in ordinal order of the patterns.</summary>
    public ImmutableSortedDictionary<string, int> RankPattern { get; }

    /// <summary>alpha_pattern: alphas of modules that differ from <see cref="LoraAlpha"/>, in ordinal order of the patterns.</summary>
    public ImmutableSortedDictionary<string, double> AlphaPattern { get; }

    /// <summary>modules_to_save: modules trained and stored whole, in ordinal order; empty where absent.</summary>
    public ImmutableSortedSet<string> ModulesToSave { get; }

    /// <summary>The first field in which averaging this adapter with another would go wrong, with both values: <c>lora_alpha 16 against 32</c>.</summary>
    /// <param name="other">The other adapter's config.</param>
    /// <returns>
    /// Null where r, lora_alpha, use_rslora, use_dora, target_modules, base_model_name_or_path, rank_pattern, alpha_pattern and modules_to_save
    /// agree.
    /// </returns>
    public string? DescribeDisagreement(PeftAdapterConfig other)
    {
        ArgumentNullException.ThrowIfNull(other);
        foreach (var ((field, mine), (_, theirs)) in Compared().Zip(other.Compared()))
        {
            if (mine != theirs)
                return $"{field} {Sentence.Clean(mine)} against {Sentence.Clean(theirs)}";
        }

        return null;
    }

    // each value as a text that is equal exactly where the values are: numbers round-trip, sets and patterns are sorted, names are quoted
    private IEnumerable<(string Field, string Value)> Compared()
    {
        yield return ("r", Show(Rank));
        yield return ("lora_alpha", Show(LoraAlpha));
        yield return ("use_rslora", UseRsLora ? "true" : "false");
        yield return ("use_dora", UseDora ? "true" : "false");
        yield return ("target_modules", _targetsArePattern ? Quote(TargetModules[0]) : Show(TargetModules));
        yield return ("base_model_name_or_path", BaseModel is null ? "null" : Quote(BaseModel));
        yield return ("rank_pattern", Show(RankPattern.Select(entry => (entry.Key, Show(entry.Value)))));
        yield return ("alpha_pattern", Show(AlphaPattern.Select(entry => (entry.Key, Show(entry.Value)))));
        yield return ("modules_to_save", Show(ModulesToSave));
    }

    private static string Show<T>(T number) where T : struct, IFormattable => number.ToString(null, CultureInfo.InvariantCulture);

    private static string Show(ImmutableSortedSet<string> names) => $"[{string.Join(", ", names.Select(Quote))}]";

    private static string Show(IEnumerable<(string Name, string Value)> pattern) =>
        $"{{{string.Join(", ", pattern.Select(entry => $"{Quote(entry.Name)}: {entry.Value}"))}}}";

    private static string Quote(string text) => $"'{text.Replace("\\", "\\\\").Replace("'", "\\'")}'";
}
