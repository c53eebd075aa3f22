using FedICU.Model;

namespace FedICU.Registry;

/// <summary>Reads the options that every round has.</summary>
internal static class RoundSettings
{
    /// <summary>Reads the options; those that are not given stay as they are.</summary>
    public static RoundOptions Read(OptionReader reader, RoundOptions options)
    {
        return options with
        {
            Quorum = reader.CountOr(
                "quorum", options.Quorum, "all", "The number of clients, at least 1, that must remain after faulty ones were dropped."),
            OnNonFinite = TensorPolicy(
                "on-nonfinite", options.OnNonFinite, "NaN and infinite values, values and results that do not fit the output's type"),
            OnMissing = TensorPolicy("on-missing", options.OnMissing, "a tensor of the global model that the update lacks"),
            OnExtra = TensorPolicy("on-extra", options.OnExtra, "a tensor that the global model lacks; drop-tensor ignores it"),
            OnShape = TensorPolicy("on-shape", options.OnShape, "a tensor of another shape"),
            OnDType = TensorPolicy(
                "on-dtype", options.OnDType, "an integer type against a float type, or two different integer types"),
            OnBase = ClientPolicy("on-base", options.OnBase, "an update made against another model"),
            OnUnreadable = ClientPolicy("on-unreadable", options.OnUnreadable, "an update that cannot be opened or is malformed"),
            OnWeight = ClientPolicy(
                "on-weight", options.OnWeight,
                "a stated weight that is negative, not finite, not a number, above max-weight, or missing where others have one"),
            OnStatement = ClientPolicy(
                "on-statement", options.OnStatement, "local_steps, loss, staleness or normalizer that is missing or out of range"),
            MaxWeight = reader.Number(
                "max-weight", options.MaxWeight, "The largest weight that a client may have, above 0; 2^53 is the largest exact count."),
            OnConfig = reader.Choice(
                "on-config", options.OnConfig,
                "What happens to an adapter configuration that disagrees; ignore-base does not compare the base model's name.",
                ("reject", ConfigPolicy.Reject), ("drop-client", ConfigPolicy.DropClient), ("ignore-base", ConfigPolicy.IgnoreBase)),
            OnQuantized = reader.Choice(
                "on-quantized", options.OnQuantized, "What happens to quantized tensors; keep takes the global model's.",
                ("reject", QuantizedPolicy.Reject), ("drop-client", QuantizedPolicy.DropClient), ("keep", QuantizedPolicy.Keep)),
            OnChanged = ClientPolicy("on-changed", options.OnChanged, "a file that changed while it was read"),
            OnStale = reader.Choice(
                "on-stale", options.OnStale, "What happens to an update that states another round than this one.",
                ("note", StalePolicy.Note), ("reject", StalePolicy.Reject), ("drop-client", StalePolicy.DropClient)),
            StripPrefixes = ParsePrefixes(reader.Text(
                "strip-prefix", "true, false, prefixes", FormatPrefixes(options.StripPrefixes),
                "Prefixes without which names are compared, joined by commas; true: module. and _orig_mod.")) ?? options.StripPrefixes,
            Integers = reader.Choice("integers", options.Integers, "How integer tensors are aggregated; keep takes the global model's.",
                ("mean", IntegerRule.Mean), ("keep", IntegerRule.Keep)),
            MaxSimilarityClients = reader.CountOr(
                "max-similarity-clients", options.MaxSimilarityClients, "all",
                "The largest number of clients for which a report with statistics states the cosine of each two updates; 1: never."),
        };

        FaultPolicy TensorPolicy(string name, FaultPolicy defaultValue, string fault) => reader.Choice(
            name, defaultValue, $"What happens to {fault}.",
            ("reject", FaultPolicy.Reject), ("drop-client", FaultPolicy.DropClient), ("drop-tensor", FaultPolicy.DropTensor));

        FaultPolicy ClientPolicy(string name, FaultPolicy defaultValue, string fault) => reader.Choice(
            name, defaultValue, $"What happens to {fault}.", ("reject", FaultPolicy.Reject), ("drop-client", FaultPolicy.DropClient));
    }

    private static string FormatPrefixes(IReadOnlyList<string> prefixes) =>
        prefixes.Count == 0 ? "false" : prefixes.SequenceEqual(TensorNames.Known) ? "true" : string.Join(',', prefixes);

    /// <summary>
    /// Parses prefixes joined by commas; <c>true</c> means those that PyTorch's wrappers add, <c>false</c> none.
    /// </summary>
    private static IReadOnlyList<string>? ParsePrefixes(string? text) => text switch
    {
        null => null,
        "true" => TensorNames.Known,
        "false" => [],
        _ => text.Split(','),
    };
}
