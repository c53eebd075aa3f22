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
            Quorum = reader.CountOr("quorum", options.Quorum, "all", "The clients that must remain after faulty ones were dropped."),
            OnNonFinite = Policy("on-nonfinite", options.OnNonFinite, "NaN and infinite values, and values too large for the output"),
            OnMissing = Policy("on-missing", options.OnMissing, "a tensor that the update lacks"),
            OnExtra = Policy("on-extra", options.OnExtra, "a tensor that the global model lacks"),
            OnShape = Policy("on-shape", options.OnShape, "a tensor of another shape"),
            OnDType = Policy("on-dtype", options.OnDType, "an integer where a float was expected, or the other way round"),
            OnBase = Policy("on-base", options.OnBase, "an update made against another model"),
            OnUnreadable = Policy("on-unreadable", options.OnUnreadable, "a file that cannot be read"),
            OnWeight = Policy("on-weight", options.OnWeight, "a stated weight that is no number of at least 0"),
            MaxWeight = reader.Number("max-weight", options.MaxWeight, "The largest weight that a client may have."),
            OnConfig = reader.Choice("on-config", options.OnConfig, "An adapter configuration that disagrees.",
                ("reject", ConfigPolicy.Reject), ("drop-client", ConfigPolicy.DropClient), ("ignore-base", ConfigPolicy.IgnoreBase)),
            OnQuantized = reader.Choice("on-quantized", options.OnQuantized, "Quantized tensors.",
                ("reject", QuantizedPolicy.Reject), ("drop-client", QuantizedPolicy.DropClient), ("keep", QuantizedPolicy.Keep)),
            OnChanged = Policy("on-changed", options.OnChanged, "a file that changed while it was read"),
            OnStale = reader.Choice("on-stale", options.OnStale, "An update that states another round.",
                ("note", StalePolicy.Note), ("reject", StalePolicy.Reject), ("drop-client", StalePolicy.DropClient)),
            StripPrefixes = ParsePrefixes(reader.Text("strip-prefix", "true, false, prefixes", "Prefixes of names that wrappers add.")) ??
                options.StripPrefixes,
            Integers = reader.Choice("integers", options.Integers, "How integer tensors are aggregated.",
                ("mean", IntegerRule.Mean), ("keep", IntegerRule.Keep)),
        };

        FaultPolicy Policy(string name, FaultPolicy defaultValue, string fault) => reader.Choice(
            name, defaultValue, $"What happens to {fault}.",
            ("reject", FaultPolicy.Reject), ("drop-client", FaultPolicy.DropClient), ("drop-tensor", FaultPolicy.DropTensor));
    }

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
