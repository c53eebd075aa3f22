using System.Text.Json;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>Checks and opens the paths of a command line.</summary>
internal static class Paths
{
    private static readonly string[] ModelFiles =
        [ModelFolder.AdapterConfig, ModelFolder.AdapterModel, ModelFolder.ShardIndex, ModelFolder.SingleFile];

    /// <summary>Gets one spelling for each path: <c>./a/</c> and <c>a</c> are the same.</summary>
    public static string Normal(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

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
        foreach ((string what, string? other) in others)
        {
            if (!string.IsNullOrEmpty(other) && Files(other).Any(written.Contains))
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

    private static bool IsFile(string output) => output.EndsWith(".safetensors", StringComparison.Ordinal);

    private static bool IsIndex(string model) => model.EndsWith(".index.json", StringComparison.Ordinal);

    /// <summary>Lists the path itself and, if it is a folder or an index, the paths of its model's files.</summary>
    private static IEnumerable<string> Files(string path)
    {
        string folder = IsIndex(path) ? Path.GetDirectoryName(path)! : path;
        string[] indexes = IsIndex(path) ? [path] : [.. ModelFolder.Indexes(path).Select(name => Path.Combine(path, name))];
        return ModelFiles.Select(name => Path.Combine(path, name)).Prepend(path).Concat(indexes)
            .Concat(indexes.SelectMany(Shards).Select(name => Path.Combine(folder, name))).Select(FilePlace.Real);
    }

    /// <summary>
    /// Lists the shards of an index. The list is empty if the index cannot be read: opening it reports why.
    /// </summary>
    private static HashSet<string> Shards(string index)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            // pipes have length 0
            if (new FileInfo(index) is not { Exists: true, Length: > 0 and <= int.MaxValue })
                return names;
            var reader = new Utf8JsonReader(File.ReadAllBytes(index));
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isMap = reader.ValueTextEquals("weight_map");
                reader.Read();
                if (!isMap)
                    reader.Skip();
                while (isMap && reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    reader.Read();
                    if (reader.TokenType == JsonTokenType.String)
                        names.Add(reader.GetString()!);
                    reader.Skip();
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException)
        {
            // opening the model reports the error
        }

        names.RemoveWhere(name => name.Contains('\0'));
        return names;
    }
}
