using System.CommandLine;
using System.Globalization;
using FedICU.Compute;
using FedICU.Gpu;

namespace FedICU.Cli;

/// <summary>The options that several commands share, and the readers of their values.</summary>
internal static class Flags
{
    private static readonly string Backends = string.Join(", ", ComputeBackends.Names);

    // the largest --threads; chosen: more than a machine's CPUs, while each thread takes its own memory
    private const int MostThreads = 1024;

    /// <summary>
    /// The environment variable that, set to 1, makes a command fail if the requested device is missing or fails.
    /// </summary>
    public const string RequireGpu = "FEDICU_REQUIRE_GPU";

    public const string ModelForms =
        "A .safetensors file, a *.safetensors.index.json with its shards, or a folder that holds an adapter, a sharded model " +
        "or a model.safetensors.";

    // Every option takes text. The tool, not the parsing library, decides which values are usage errors and which are
    // refused.
    public static Option<string> Required(string name, string value, string description) =>
        new(name) { HelpName = value, Description = description, Required = true };

    public static Option<string?> Optional(string name, string value, string description) =>
        new(name) { HelpName = value, Description = description };

    public static Option<string> Global() => Required("--global", "MODEL", "The model that was sent to the clients.");

    public static Option<string[]> Clients() => new("--client")
    {
        HelpName = "[NAME=]MODEL",
        Description = "A client's update; repeat the option for each client. Without NAME, the client's name is the path as typed. " +
            "A path that contains '=' needs a NAME.",
    };

    public static Option<string?> ManyClients() => Optional(
        "--clients", "PATH",
        "Many clients: a folder of safetensors files, sharded models and adapter folders, or a .json file that lists the clients.");

    public static Option<string?> Weights() => Optional(
        "--weights", "N,N,...",
        "The numbers of examples of the clients of --client, in their order. Default: num_examples of each file's metadata, otherwise 1.");

    public static Option<string[]> Plugins() => new("--plugin")
    {
        HelpName = "FILE.dll",
        Description = "A plug-in that adds strategies; repeat the option for each. It runs with all rights of the tool.",
    };

    public static Option<string[]> Settings(string names) =>
        new("--set") { HelpName = "NAME=VALUE", Description = $"Sets an option; repeat for each option. Names: {names}." };

    public static Option<string?> Backend() => Optional(
        "--backend", "BACKEND",
        $"The backend that computes: {Backends}. Default: {ComputeBackends.Variable}, otherwise auto: a GPU that passes its check, " +
        "for 16 GiB of updates and more.");

    public static Option<string?> Threads() => Optional(
        "--threads", "N",
        $"The number of computing threads, at most {MostThreads}; it has no effect on the result. Default: 0, one for each CPU.");

    public static Option<string?> OutputDType() =>
        Optional("--dtype", "TYPE", "The output's type: f32, f16, bf16 or f64. Default: the global model's.");

    public static Option<string?> Round(string description) => Optional("--round", "N", description);

    public static Option<string?> Mask() =>
        Optional("--mask", "RULE", "hard, soft, top[=RATIO] (0.1) or noise[=SIGMA] (0.01). Default: hard.");

    public static Option<bool> Switch(string name, string description) =>
        new(name) { Description = description, Arity = ArgumentArity.Zero };

    public static Option<bool> Json() => Switch("--json", "Prints the result as JSON.");

    public static Option<bool> Replace() => Switch(
        "--replace",
        "Removes files from an output folder that readers would load instead of the new model, such as a model.safetensors beside an " +
        "index. Without the option such a folder is refused.");

    public static Option<bool> FollowLinks() => Switch(
        "--follow-links",
        "Writes to the target of an output that is a symbolic link. Without the option the link itself is replaced.");

    /// <summary>Refuses unknown names among a strategy, or several joined by commas.</summary>
    public static string ReadStrategy(string text, StrategyRegistry registry)
    {
        string? unknown = text.Split(',').FirstOrDefault(name => registry.Find(name) is null);
        return unknown is null ? text : throw UnknownStrategy(unknown, registry);
    }

    public static UsageException UnknownStrategy(string name, StrategyRegistry registry) =>
        new(registry.DescribeUnknown(name));

    /// <summary>Refuses a backend that is unknown, before a file is read.</summary>
    public static string? ReadBackendName(string? text) => text is null || ComputeBackends.Names.Contains(text)
        ? text
        : throw new UsageException($"The backend '{text}' is unknown; {Backends} are known.");

    /// <summary>
    /// Creates the backend, which the caller disposes. Warns on the terminal if it is another backend than the
    /// requested one.
    /// </summary>
    /// <param name="text">The option's value.</param>
    /// <param name="terminal">The terminal that shows warnings.</param>
    /// <param name="models">The models that the command reads. If they are small, <c>auto</c> starts no device.</param>
    public static IClientBackend ReadBackend(string? text, Terminal terminal, IEnumerable<string> models)
    {
        bool required = Environment.GetEnvironmentVariable(RequireGpu) == "1";
        long workBytes = required ? long.MaxValue : models.Sum(Paths.Bytes);
        return ReadBackend(text, new GpuOptions { Warning = terminal.Warn, Fallback = !required }, workBytes);
    }

    /// <summary>Creates the backend with the command's own device options.</summary>
    public static IClientBackend ReadBackend(string? text, GpuOptions options, long workBytes = long.MaxValue)
    {
        try
        {
            if (!ManagedTool.IsThis)
            {
                return ComputeBackends.CreateForCpu(text, options, workBytes) ??
                    throw new ManagedToolNeededException("A backend of GPUs");
            }

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

    public static UpdateKind? ReadKind(string? text) => text is null
        ? null
        : MetadataKeys.ParseKind(text) ?? throw new UsageException($"The kind '{text}' is unknown; full, delta or sparse was expected.");

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

    /// <summary>Refuses a mask of an unknown kind. The library reads the mask's number, if it has one.</summary>
    public static string? ReadMask(string? text)
    {
        string? kind = text?.Split('=')[0];
        if (kind is not (null or "hard" or "soft" or "top" or "noise"))
            throw new UsageException($"The mask '{text}' is unknown; hard, soft, top=RATIO or noise=SIGMA was expected.");
        return text;
    }
}
