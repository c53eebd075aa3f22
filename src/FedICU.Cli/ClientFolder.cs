using FedICU.Files;

namespace FedICU.Cli;

/// <summary>Finds the clients in a folder of <c>--clients</c>.</summary>
internal static class ClientFolder
{
    // Endings of models in other formats. Such a file counts as a client, so that it is not left out silently: opening
    // it says what it is, and on-unreadable decides.
    private static readonly string[] ModelEndings =
        [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz", ".npy", ".h5", ".gguf"];

    /// <summary>
    /// Lists the safetensors files, indexes and model folders in a folder, in the ordinal order of their names. Hidden
    /// files, shards that an index names, and files of other kinds are left out.
    /// </summary>
    /// <exception cref="RefusedException">
    /// The folder cannot be read, holds no client, or is itself an adapter.
    /// </exception>
    /// <exception cref="InvalidModelException">An index cannot be read, so its shards are unknown.</exception>
    public static List<ClientEntry> List(string folder)
    {
        HashSet<string> names = ListModels(folder);
        if (File.Exists(Path.Combine(folder, ModelFolder.AdapterConfig)))
            throw new RefusedException($"--clients '{folder}' is one adapter; the folder that holds the clients was expected.");
        foreach (string index in names.Where(ModelFolder.IsIndex).ToList())
        {
            string path = Path.Combine(folder, index);
            names.ExceptWith(ShardIndex.Parse(ShardIndex.ReadText(path), path).WeightMap.Values);
        }

        if (names.Count == 0)
        {
            throw new RefusedException(
                $"--clients '{folder}' holds no client; safetensors files, sharded models or adapter folders were expected.");
        }

        return [.. names.Order(StringComparer.Ordinal).Select(name => new ClientEntry(name, Path.Combine(folder, name)))];
    }

    private static HashSet<string> ListModels(string folder)
    {
        try
        {
            return
            [
                .. new DirectoryInfo(folder).EnumerateFileSystemInfos()
                    .Where(item => item is DirectoryInfo ? HoldsModel(item) : IsModel(item.Name)).Select(item => item.Name),
            ];
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new RefusedException($"--clients '{folder}' cannot be read: {FileFailure.Describe(e)}.");
        }
    }

    private static bool HoldsModel(FileSystemInfo folder)
    {
        if (folder.Name.StartsWith('.'))
            return false;
        try
        {
            return Directory.EnumerateFiles(folder.FullName).Select(path => Path.GetFileName(path))
                .Any(name => name == ModelFolder.AdapterConfig || IsModel(name));
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // the round opens the folder and says why it cannot be read
            return true;
        }
    }

    // locks and files that are being written are hidden
    private static bool IsModel(string name) =>
        !name.StartsWith('.') &&
        (ModelFolder.IsIndex(name) || Array.Exists(ModelEndings, ending => name.EndsWith(ending, StringComparison.OrdinalIgnoreCase)));
}
