namespace FedICU.Files;

/// <summary>The names that files have in model folders, and which of them decides what a folder is.</summary>
internal static class ModelFolder
{
    public const string AdapterConfig = "adapter_config.json";
    public const string AdapterModel = "adapter_model.safetensors";
    public const string ShardIndex = "model.safetensors.index.json";
    public const string SingleFile = "model.safetensors";

    /// <summary>
    /// How the names of indexes end; some libraries use other stems than <c>model</c>, as in
    /// <c>diffusion_pytorch_model.safetensors.index.json</c>.
    /// </summary>
    public const string IndexEnding = ".safetensors.index.json";

    /// <summary>
    /// Whether a name is one by which a folder is opened as a sharded model. Hidden files are not the user's: macOS leaves some beside each
    /// file.
    /// </summary>
    public static bool IsIndex(string name) => name.EndsWith(IndexEnding, StringComparison.Ordinal) && !name.StartsWith('.');

    /// <summary>The names of a folder's indexes in ordinal order; none where it cannot be listed.</summary>
    public static string[] Indexes(string folder)
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
    /// The names of the files that decide how a folder is read, in the order of their precedence. The first counts; two indexes are a
    /// contradiction.
    /// </summary>
    public static IEnumerable<string> Markers(string folder)
    {
        if (File.Exists(Path.Combine(folder, AdapterConfig)))
            yield return AdapterConfig;
        foreach (string index in Indexes(folder))
            yield return index;
        if (File.Exists(Path.Combine(folder, SingleFile)))
            yield return SingleFile;
    }
}
