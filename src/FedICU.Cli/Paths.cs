using FedICU.Files;

namespace FedICU.Cli;

/// <summary>Checks and opens the paths of a command line.</summary>
internal static class Paths
{
    /// <summary>Whether two paths lead to the same place after following links.</summary>
    public static bool Same(string a, string b) => FilePlace.Real(a) == FilePlace.Real(b);

    /// <summary>
    /// Refuses an output that would overwrite one of the other paths, or a file of a model in one of them.
    /// </summary>
    /// <param name="option">The output's option.</param>
    /// <param name="output">The output.</param>
    /// <param name="others">
    /// The paths that must not be overwritten, each with the words that an error message uses for it.
    /// </param>
    public static void RefuseOverwriting(string option, string? output, IEnumerable<(string What, string? Path)> others)
    {
        if (output is null)
            return;
        HashSet<string> written = [.. Files(Read(option, output))];
        var folders = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string what, string? other) in others)
        {
            if (!string.IsNullOrEmpty(other) &&
                ModelFolder.ListFiles(other).Any(file => written.Contains(FilePlace.Real(file, folders))))
                throw new RefusedException($"{option} '{output}' is {what} itself.");
        }
    }

    /// <summary>Returns the path that was given for an option; refuses an empty one.</summary>
    public static string Read(string option, string path) =>
        path.Length > 0 ? path : throw new RefusedException($"{option} is ''; a path was expected.");

    /// <summary>Returns the path that was given for a new model; refuses a device, a pipe and the like.</summary>
    public static string ReadOutput(string option, string path) =>
        FilePlace.IsSpecial(Read(option, path)) ? throw new RefusedException($"{option} '{path}' is not a regular file.") : path;

    /// <summary>
    /// Gets the file to report as written: the output itself, or the file that makes its folder a model of the global
    /// model's kind.
    /// </summary>
    public static string OutputFile(string output, TensorSource global) => IsFile(output) ? output : Path.Combine(output, global switch
    {
        PeftAdapter => ModelFolder.AdapterModel,
        ShardedModel sharded when ModelFolder.IsIndex(Path.GetFileName(sharded.Location)) => Path.GetFileName(sharded.Location),
        ShardedModel => ModelFolder.ShardIndex,
        _ => ModelFolder.SingleFile,
    });

    /// <summary>
    /// Counts the bytes of a model's file, or of the files in its folder. Returns 0 if there are none: opening the
    /// model reports it.
    /// </summary>
    public static long Bytes(string path)
    {
        try
        {
            if (Directory.Exists(path))
                return new DirectoryInfo(path).EnumerateFiles("*.safetensors").Sum(file => file.Length);
            return File.Exists(path) ? new FileInfo(path).Length : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    /// <summary>
    /// Opens a model that was given for an option or argument. An error message begins with that option's name.
    /// </summary>
    public static TensorSource Open(string option, string path)
    {
        Read(option, path);
        try
        {
            // other processes may write these files meanwhile, so they are read and never memory-mapped (docs/adr/0003)
            return TensorSource.Open(path);
        }
        catch (InvalidModelException e)
        {
            throw new RefusedException($"{option}: {e.Message}");
        }
    }

    /// <summary>Whether an output is one file; any other output is a folder.</summary>
    public static bool IsFile(string output) => output.EndsWith(".safetensors", StringComparison.Ordinal);

    /// <summary>Returns the resolved paths of a file or folder and of the files of a model there.</summary>
    public static IEnumerable<string> Files(string path) =>
        ModelFolder.ListFiles(path).Select(FilePlace.Real);
}
