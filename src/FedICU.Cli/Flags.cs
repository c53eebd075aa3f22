using System.CommandLine;
using System.Globalization;
using FedICU.Compute;
using FedICU.Gpu;
using FedICU.Registry;

namespace FedICU.Cli;

/// <summary>The options that several commands share: how they are shown, and how their values are read.</summary>
internal static class Flags
{
    private static readonly string Backends = string.Join(", ", ComputeBackends.Names);

    // more than any machine's processors; each thread takes memory of its own
    private const int MostThreads = 1024;

    /// <summary>Set to 1, a device that was asked for and is not there, or fails, ends the command.</summary>
    public const string RequireGpu = "FEDICU_REQUIRE_GPU";

    public const string ModelForms = "A .safetensors file, a *.safetensors.index.json with its shards, or a folder that holds an adapter, a sharded model or a model.safetensors.";

    // all values are read as text: which of them are usage errors and which are refused is the contract's, not the parsing library's
    public static Option<string> Required(string name, string value, string description) =>
        new(name) { HelpName = value, Description = description, Required = true };

    public static Option<string?> Optional(string name, string value, string description) => new(name) { HelpName = value, Description = description };

    public static Option<string> Global() => Required("--global", "MODEL", "The model that was sent to the clients.");

    public static Option<string[]> Clients() => new("--client")
    {
        HelpName = "[NAME=]MODEL",
        Description = "A client's update; once for each client. Its name is the path as typed, unless one is given. A path that holds '=' needs a name.",
        Required = true,
    };

    public static Option<string?> Weights() =>
        Optional("--weights", "N,N,...", "The clients' numbers of examples, in the order typed. Otherwise num_examples of each file's metadata, otherwise 1.");

    public static Option<string[]> Settings(string names) =>
        new("--set") { HelpName = "NAME=VALUE", Description = $"Sets an option; once for each: {names}." };

    public static Option<string?> Backend() => Optional("--backend", "BACKEND", $"What computes: {Backends}. Default: {ComputeBackends.Variable}, otherwise auto: for 16 GiB of updates and more a GPU, where one is there and passes its check.");

    public static Option<string?> Threads() => Optional("--threads", "N", $"How many threads compute, at most {MostThreads}; no effect on the result. Default: 0, one for each processor.");

    public static Option<string?> Round(string description) => Optional("--round", "N", description);

    public static Option<string?> Mask() => Optional("--mask", "RULE", "hard, soft, top[=RATIO] (0.1) or noise[=SIGMA] (0.01). Default: hard.");

    public static Option<bool> Switch(string name, string description) => new(name) { Description = description, Arity = ArgumentArity.Zero };

    public static Option<bool> Replace() => Switch(
        "--replace",
        "Removes from an output folder what readers would take in place of the new model, such as a model.safetensors beside an index; " +
        "otherwise it is refused.");

    public static Option<bool> FollowLinks() =>
        Switch("--follow-links", "Writes an output that is a symbolic link where the link leads; otherwise the link is replaced.");

    public static string ReadStrategy(string? text, string otherwise)
    {
        if (text is not null && !AggregatorCatalog.Names.Contains(text))
            throw new UsageException($"The strategy '{text}' is unknown; {string.Join(", ", AggregatorCatalog.Names)} are known.");
        return text ?? otherwise;
    }

    /// <summary>Creates the backend, of which a warning tells where it is not the one asked for; the caller's to dispose of.</summary>
    /// <param name="text">The option's value.</param>
    /// <param name="terminal">Is warned.</param>
    /// <param name="models">What will be read with it: for little, <c>auto</c> starts no device.</param>
    public static IClientBackend ReadBackend(string? text, Terminal terminal, IEnumerable<string> models)
    {
        bool required = Environment.GetEnvironmentVariable(RequireGpu) == "1";
        return ReadBackend(text, new GpuOptions { Warning = terminal.Warn, Fallback = !required }, required ? long.MaxValue : models.Sum(Paths.Bytes));
    }

    /// <summary>The same with options of the command's own.</summary>
    public static IClientBackend ReadBackend(string? text, GpuOptions options, long workBytes = long.MaxValue)
    {
        try
        {
            return ComputeBackends.Create(text, options, workBytes);
        }
        catch (InvalidOptionsException e)
        {
            throw new UsageException(e.Message);
        }
    }

    public static DType? ReadDType(string? text)
    {
        if (text is null)
            return null;
        if (DTypeExtensions.TryParseSafetensorsName(text.ToUpperInvariant(), out DType dtype) && dtype.IsComputed)
            return dtype;
        throw new UsageException($"The dtype '{text}' is unknown; f32, f16, bf16 or f64 was expected.");
    }

    public static UpdateKind? ReadKind(string? text) => text switch
    {
        null => null,
        "full" => UpdateKind.Full,
        "delta" => UpdateKind.Delta,
        "sparse" => UpdateKind.Sparse,
        _ => throw new UsageException($"The kind '{text}' is unknown; full, delta or sparse was expected."),
    };

    public static int ReadThreads(string? text)
    {
        if (text is null)
            return 0;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int threads) && threads <= MostThreads
            ? threads
            : throw new RefusedException($"--threads is '{text}'; a whole number from 0 to {MostThreads} was expected.");
    }

    public static long? ReadRound(string? text)
    {
        if (text is null)
            return null;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long round)
            ? round
            : throw new RefusedException($"--round is '{text}'; a whole number of at least 0 was expected.");
    }

    public static List<KeyValuePair<string, string>> ReadSettings(string[]? texts)
    {
        var settings = new List<KeyValuePair<string, string>>();
        foreach (string text in texts ?? [])
        {
            int at = text.IndexOf('=', StringComparison.Ordinal);
            if (at <= 0)
                throw new RefusedException($"--set is '{text}'; NAME=VALUE was expected.");
            settings.Add(new(text[..at], text[(at + 1)..]));
        }

        return settings;
    }

    /// <summary>Refuses a mask of an unknown kind; its number, if any, is the library's to read.</summary>
    public static string? ReadMask(string? text)
    {
        string? kind = text?.Split('=')[0];
        if (kind is not (null or "hard" or "soft" or "top" or "noise"))
            throw new UsageException($"The mask '{text}' is unknown; hard, soft, top=RATIO or noise=SIGMA was expected.");
        return text;
    }
}
