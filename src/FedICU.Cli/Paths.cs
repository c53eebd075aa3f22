namespace FedICU.Cli;

/// <summary>Paths as people type them.</summary>
internal static class Paths
{
    private static readonly string[] ModelFiles = ["adapter_config.json", "adapter_model.safetensors", "model.safetensors.index.json", "model.safetensors"];

    /// <summary>One spelling for each place: <c>./a/</c> and <c>a</c> are the same.</summary>
    public static string Normal(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

    public static bool Same(string a, string b) => Normal(a) == Normal(b);

    /// <summary>Refuses an output that would replace one of the others, or a file of the model in a folder that is one of them.</summary>
    public static void KeepApart(string option, string? output, IEnumerable<(string What, string? Path)> others)
    {
        if (output is null)
            return;
        string[] written = Files(Read(option, output));
        foreach ((string what, string? other) in others)
        {
            if (!string.IsNullOrEmpty(other) && Files(other).Any(written.Contains))
                throw new RefusedException($"{option} '{output}' is {what} itself.");
        }
    }

    /// <summary>A path given for an option; an empty one is refused.</summary>
    public static string Read(string option, string path) => path.Length > 0 ? path : throw new RefusedException($"{option} is ''; a path was expected.");

    /// <summary>Opens a model given for an option or argument; what is wrong with it is said with that name.</summary>
    public static TensorSource Open(string option, string path)
    {
        Read(option, path);
        try
        {
            // others may write the files of a command line: positional reads, never mapped (docs/adr/0003)
            return TensorSource.Open(path);
        }
        catch (InvalidModelException e)
        {
            throw new RefusedException($"{option}: {e.Message}");
        }
    }

    /// <summary>The place, and where the files of a model are if it is a folder.</summary>
    private static string[] Files(string path) => [Normal(path), .. ModelFiles.Select(name => Path.Combine(Normal(path), name))];
}
