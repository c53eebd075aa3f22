using System.Text.Json;

namespace FedICU.Files.Adapters;

/// <summary>Writes an adapter's configuration with other ranks and alphas. All other fields stay as they are.</summary>
internal static class ConfigWriter
{
    private static readonly JsonWriterOptions Layout = new() { Indented = true, NewLine = "\n" };

    /// <summary>Rewrites the fields that state ranks and scalings.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="modules">The rank and the alpha of each module, by its name in the adapter.</param>
    /// <param name="useRsLora">Whether the scaling is alpha / sqrt(r).</param>
    /// <param name="savesModules">Whether modules_to_save stays; false for an adapter of LoRA pairs alone.</param>
    public static PeftAdapterConfig WithRanks(
        PeftAdapterConfig config, IReadOnlyList<(string Module, long Rank, double Alpha)> modules, bool useRsLora,
        bool savesModules = true)
    {
        (long rank, double alpha) = (MostCommon(modules.Select(module => module.Rank)), MostCommon(modules.Select(module => module.Alpha)));
        // PEFT takes the first pattern that ends a module's name: a name that ends with another comes before it
        List<(string Key, long Rank, double Alpha)> longestFirst =
        [
            .. modules.Select(module => (AdapterModules.Key(module.Module), module.Rank, module.Alpha))
                .OrderByDescending(module => module.Item1.Length).ThenBy(module => module.Item1, StringComparer.Ordinal),
        ];
        var written = new Dictionary<string, Action<Utf8JsonWriter>>(StringComparer.Ordinal)
        {
            ["r"] = json => json.WriteNumberValue(rank),
            ["lora_alpha"] = json => WriteNumber(json, alpha),
            ["use_rslora"] = json => json.WriteBooleanValue(useRsLora),
            ["rank_pattern"] = json => WritePattern(json, longestFirst, module => module.Rank != rank, module => module.Rank),
            ["alpha_pattern"] = json => WritePattern(json, longestFirst, module => module.Alpha != alpha, module => module.Alpha),
        };
        if (!savesModules)
            written["modules_to_save"] = json => json.WriteNullValue();
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, Layout))
        using (JsonDocument document = JsonDocument.Parse(config.RawJson))
        {
            json.WriteStartObject();
            foreach (JsonProperty field in document.RootElement.EnumerateObject())
            {
                json.WritePropertyName(field.Name);
                if (written.Remove(field.Name, out Action<Utf8JsonWriter>? write))
                    write(json);
                else
                    field.Value.WriteTo(json);
            }

            foreach ((string name, Action<Utf8JsonWriter> write) in written)
            {
                json.WritePropertyName(name);
                write(json);
            }

            json.WriteEndObject();
        }

        return PeftAdapterConfig.Parse(stream.ToArray(), "adapter_config.json");
    }

    private static T MostCommon<T>(IEnumerable<T> values) where T : notnull =>
        values.CountBy(value => value).MaxBy(value => value.Value).Key;

    private static void WritePattern(
        Utf8JsonWriter json, IEnumerable<(string Key, long Rank, double Alpha)> modules,
        Func<(string Key, long Rank, double Alpha), bool> differs, Func<(string Key, long Rank, double Alpha), double> valueOf)
    {
        // a name that ends with one that differs needs a pattern of its own
        List<(string Key, long Rank, double Alpha)> all = [.. modules];
        HashSet<string> ends = [.. all.Where(differs).Select(module => module.Key)];
        json.WriteStartObject();
        foreach ((string Key, long Rank, double Alpha) module in all.Where(module => differs(module) || EndsWithAny(module.Key, ends)))
        {
            json.WritePropertyName(module.Key);
            WriteNumber(json, valueOf(module));
        }

        json.WriteEndObject();
    }

    private static bool EndsWithAny(string key, HashSet<string> ends)
    {
        for (int dot = key.IndexOf('.', StringComparison.Ordinal); dot >= 0 && ends.Count > 0; dot = key.IndexOf('.', dot + 1))
        {
            if (ends.Contains(key[(dot + 1)..]))
                return true;
        }

        return false;
    }

    private static void WriteNumber(Utf8JsonWriter json, double value)
    {
        if (value == Math.Truncate(value) && Math.Abs(value) < 1L << 53)
            json.WriteNumberValue((long)value);
        else
            json.WriteNumberValue(value);
    }
}
