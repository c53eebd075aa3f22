namespace FedICU.Files;

/// <summary>
/// The file names used in model folders, and the rule for which of them determines the kind of a folder.
/// </summary>
internal static class ModelFolder
{
    public const string AdapterConfig = "adapter_config.json";
    public const string AdapterModel = "adapter_model.safetensors";
    public const string ShardIndex = "model.safetensors.index.json";
    public const string SingleFile = "model.safetensors";

    /// <summary>
    /// The ending of index names. Some libraries use another stem than <c>model</c>, for example
    /// <c>diffusion_pytorch_model.safetensors.index.json</c>.
    /// </summary>
    public const string IndexEnding = ".safetensors.index.json";

    /// <summary>
    /// Determines whether a file with this name makes its folder a sharded model. Hidden files do not count: macOS
    /// creates some beside the user's files.
    /// </summary>
    public static bool IsIndex(string name) => name.EndsWith(IndexEnding, StringComparison.Ordinal) && !name.StartsWith('.');

    /// <summary>
    /// Returns the names of a folder's indexes in ordinal order, or none if the folder cannot be listed.
    /// </summary>
    public static string[] ListIndexes(string folder)
    {
        if (!Directory.Exists(folder))
            return [];
        try
        {
            return [.. Directory.EnumerateFiles(folder, "*" + IndexEnding)
                .Select(path => Path.GetFileName(path)).Where(IsIndex).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>
    /// Returns the full paths of a file, index or folder and of the files of a model that belong to it.
    /// </summary>
    public static IEnumerable<string> ListFiles(string path)
    {
        if (path.Length == 0 || path.Contains('\0'))
            return [];
        string folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        // a safetensors file has no other files: a round of many clients asks for each of them
        if (File.Exists(folder) && !folder.EndsWith(".json", StringComparison.Ordinal))
            return [folder];
        string[] names = [AdapterConfig, AdapterModel, SingleFile, ShardIndex];
        // a file of this ending is opened as an index, whatever its name is
        IEnumerable<string> ofIndexes = folder.EndsWith(".index.json", StringComparison.Ordinal)
            ? ListIndexFiles(folder)
            : ListIndexes(folder).SelectMany(index => ListIndexFiles(Path.Combine(folder, index)));
        return names.Select(name => Path.Combine(folder, name)).Prepend(folder).Concat(ofIndexes);
    }

    /// <summary>
    /// Returns the paths of an index and of its shards. If the index cannot be read, every safetensors file beside it
    /// may be one of its shards.
    /// </summary>
    private static IEnumerable<string> ListIndexFiles(string index)
    {
        string folder = Path.GetDirectoryName(index) ?? "";
        IEnumerable<string>? shards = FedICU.Files.ShardIndex.TryReadShardNames(index)?.Select(shard => Path.Combine(folder, shard));
        return (shards ?? ListSafetensors(folder)).Prepend(index);
    }

    private static string[] ListSafetensors(string folder)
    {
        try
        {
            return Directory.GetFiles(folder, "*.safetensors");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return [];
        }
    }

    /// <summary>
    /// Returns the names of the files that determine how a folder is read, the first of which counts. Two indexes are
    /// an error.
    /// </summary>
    public static IEnumerable<string> ListMarkers(string folder)
    {
        if (File.Exists(Path.Combine(folder, AdapterConfig)))
            yield return AdapterConfig;
        foreach (string index in ListIndexes(folder))
            yield return index;
        if (File.Exists(Path.Combine(folder, SingleFile)))
            yield return SingleFile;
    }
}
