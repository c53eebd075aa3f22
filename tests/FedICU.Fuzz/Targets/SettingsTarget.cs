using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>
/// Tests options by name, as from <c>--set</c> and configuration files. Accepted options must also run.
/// </summary>
internal sealed class SettingsTarget : FuzzTarget
{
    private static readonly string[] Names =
    [
        "preset", "tau", "eps", "axis", "similarity", "granularity", "weights", "times-share", "consensus", "target", "coherence", "mu",
        "balance", "integers", "quorum", "beta",
        "importance", "fill", "seed", "sigma", "momentum", "mask", "on-nonfinite", "on-missing", "on-extra", "on-shape", "on-dtype",
        "on-base", "on-unreadable", "on-weight",
        "max-weight", "on-config", "on-quantized", "on-changed", "on-stale", "strip-prefix", "on-statement", "lora-scaling",
        "max-similarity-clients",
    ];

    private static readonly string[] Values =
    [
        "paper", "balanced", "columns", "rows", "tensor", "pairwise", "pairwise-self", "mean", "previous", "model", "softmax", "relu",
        "raw", "true", "false", "uniform", "share",
        "parameters", "delta", "keep", "reject", "drop-client", "drop-tensor", "zscore", "minmax", "rank", "global", "zero", "ema", "none",
        "hard", "soft", "top", "top=0.5",
        "top=0", "noise", "noise=0.1", "noise=1e400", "note", "ignore-base", "module.,_orig_mod.", ",", "inf", "-inf", "1", "2", "0.1",
        "1e-300", "5e-324", "1e308",
    ];

    public override string Name => "settings";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        // few settings a case, because random values rarely fit a name and some cases should be accepted
        string strategy = choices.OneIn(12) ? Literals.Text(choices) : choices.Of(["fedavg", "fedprox", "fedicu", "client"]);
        var parts = new List<FuzzPart> { new("strategy", strategy) };
        for (int n = choices.Between(0, 3); n > 0; n--)
        {
            string name = choices.OneIn(10) ? Literals.Text(choices) : choices.Of(Names);
            string value = choices.Below(4) switch { 0 => Literals.Text(choices), 1 => Literals.Number(choices), _ => choices.Of(Values) };
            parts.Add(new("name", Utf16(name)));
            parts.Add(new("value", Utf16(value)));
        }

        return parts;
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        string strategy = input.Text("strategy");
        KeyValuePair<string, string>[] settings = [.. input.Parts.Skip(1).Chunk(2).Select(pair =>
            KeyValuePair.Create(Utf16(pair[0].Bytes), Utf16(pair[1].Bytes)))];
        if (strategy == "client")
        {
            FedIcuClientOptions? options = library.Get("FedIcuClientOptions.FromSettings", () =>
                FedIcuClientOptions.FromSettings(settings), out Exception? wrong);
            FuzzFailure.Unless(wrong is null or InvalidOptionsException, $"undocumented {wrong?.GetType().Name}");
            if (options is null)
                return Outcome.Refused;
            using var sink = new MemorySink();
            library.Try("CreateUpdate", () => new FedIcuClient(options with { Threads = 1 })
                .CreateUpdate(Rounds.Global, Rounds.Good("a"), sink), freeBytes: Caller.FreeBytesOfMasks);
            return Outcome.Accepted;
        }

        ConfiguredRound? round = library.Get("StrategyRegistry.Create", () =>
            StrategyRegistry.Default.Create(strategy, settings), out Exception? refusal);
        FuzzFailure.Unless(refusal is null or InvalidOptionsException, $"undocumented {refusal?.GetType().Name}");
        if (round is null)
            return Outcome.Refused;
        using var output = new MemorySink();
        Rounds.Run(library, round.Options with { Threads = 1 }, output, [Rounds.GoodUpdate("a"), Rounds.GoodUpdate("c")], out _,
            round.Aggregator);
        return Outcome.Accepted;
    }

    // settings are .NET strings, which can contain unpaired surrogates; UTF-8 cannot encode those
    public static byte[] Utf16(string text)
    {
        byte[] bytes = new byte[2 * text.Length];
        for (int i = 0; i < text.Length; i++)
            (bytes[2 * i], bytes[2 * i + 1]) = ((byte)(text[i] >> 8), (byte)text[i]);
        return bytes;
    }

    public static string Utf16(byte[] bytes) => new([.. Enumerable.Range(0, bytes.Length / 2).Select(i =>
        (char)(bytes[2 * i] << 8 | bytes[2 * i + 1]))]);
}
