using FedICU.Files;

namespace FedICU.Cli;

/// <summary>Paths as people type them.</summary>
internal static class Paths
{
    /// <summary>One spelling for each path: <c>./a/</c> and <c>a</c> are the same.</summary>
    public static string Normal(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

    /// <summary>Whether two paths lead to the same place, links followed.</summary>
    public static bool Same(string a, string b) => FilePlace.Real(a) == FilePlace.Real(b);

    /// <summary>Refuses an output that would replace one of the others, or a file of the model in a folder that is one of them.</summary>
    /// <param name="option">The output's option.</param>
    /// <param name="output">The output.</param>
    /// <param name="others">What is to stay, and what a sentence calls it.</param>
    public static void KeepApart(string option, string? output, IEnumerable<(string What, string? Path)> others)
    {
        if (output is null)
            return;
        HashSet<string> written = [.. Files(Read(option, output))];
        foreach ((string what, string? other) in others)
        {
            if (!string.IsNullOrEmpty(other) && Files(other).Any(written.Contains))
                throw new RefusedException($"{option} '{output}' is {what} itself.");
        }
    }

    /// <summary>A path given for an option; an empty one is refused.</summary>
    public static string Read(string option, string path) => path.Length > 0 ? path : throw new RefusedException($"{option} is ''; a path was expected.");

    /// <summary>A place given for a new model; one that a file cannot take is refused before anything is computed.</summary>
    public static string ReadOutput(string option, string path) =>
        FilePlace.IsSpecial(Read(option, path)) ? throw new RefusedException($"{option} '{path}' is not a regular file.") : path;

    /// <summary>The file that a model's output ends in: OUT itself, or what makes its folder a model of the global model's kind.</summary>
    public static string Written(string output, TensorSource global) => IsFile(output) ? output : Path.Combine(output, global switch
    {
        PeftAdapter => ModelFolder.AdapterModel,
        ShardedModel sharded when ModelFolder.IsIndex(Path.GetFileName(sharded.Location)) => Path.GetFileName(sharded.Location),
        ShardedModel => ModelFolder.ShardIndex,
        _ => ModelFolder.SingleFile,
    });

    /// <summary>The bytes of a model's file, or of a folder's; 0 where there is none, which is told when it is opened.</summary>
    public static long Bytes(string path)
    {
        try
        {
            return Directory.Exists(path) ? new DirectoryInfo(path).EnumerateFiles("*.safetensors").Sum(file => file.Length) : File.Exists(path) ? new FileInfo(path).Length : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

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

    private static bool IsFile(string output) => output.EndsWith(".safetensors", StringComparison.Ordinal);

    private static bool IsIndex(string model) => model.EndsWith(".index.json", StringComparison.Ordinal);

    /// <summary>Returns the resolved paths of a file or folder and of the files of a model there.</summary>
    private static IEnumerable<string> Files(string path) =>
        ModelFolder.ListFiles(path).Concat(IsIndex(path) ? ModelFolder.ListIndexFiles(path) : []).Select(FilePlace.Real);
}
