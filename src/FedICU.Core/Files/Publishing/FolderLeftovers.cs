namespace FedICU.Files.Publishing;

/// <summary>
/// Removes files that a killed run left in a folder. The next run that holds the folder's lock does this; it never
/// removes a user's files.
/// </summary>
internal static class FolderLeftovers
{
    // a staging folder is named .fedicu.GENERATION.tmp; the file "replaced" in it lists shards to remove
    private const string StageHead = ".fedicu.";
    private const string StageTail = ".tmp";
    private const string ReplacedList = "replaced";

    /// <summary>Returns the path of the subfolder in which a generation is staged.</summary>
    public static string StageOf(string folder, string generation) => Path.Combine(folder, StageHead + generation + StageTail);

    /// <summary>Determines whether a name is that of a staging folder (see <see cref="StageOf"/>).</summary>
    public static bool IsStage(ReadOnlySpan<char> name) => GenerationOf(name).Length > 0;

    /// <summary>
    /// Records in the staging folder which shards are to be removed once the index of this generation is in place.
    /// </summary>
    public static void NoteReplaced(string stage, IEnumerable<string> shards) =>
        File.WriteAllLines(Path.Combine(stage, ReplacedList), shards);

    /// <summary>
    /// Removes staging folders, the shards that were recorded for removal, and shards whose generation no index lists.
    /// </summary>
    public static void Remove(string folder)
    {
        try
        {
            string[] stages = [.. Directory.EnumerateDirectories(folder, StageHead + "*")
                .Where(path => IsStage(Path.GetFileName(path.AsSpan())))];
            string[] shards = [.. Directory.EnumerateFiles(folder, "*.safetensors")
                .Where(path => FolderLayout.GenerationIn(Path.GetFileName(path)) is not null)];
            if (stages.Length == 0 && shards.Length == 0)
                return;
            string[]?[] named =
                [.. ModelFolder.ListIndexes(folder).Select(index => ShardIndex.TryReadShardNames(Path.Combine(folder, index)))];
            // an index that cannot be read may list any of the shards
            if (named.Any(names => names is null))
                return;
            HashSet<string> kept = [.. named.SelectMany(names => names!)];
            HashSet<string?> generations = [.. kept.Select(FolderLayout.GenerationIn)];
            foreach (string stage in stages)
                RemoveStage(folder, stage, kept, generations);
            foreach (string shard in shards.Where(path => !generations.Contains(FolderLayout.GenerationIn(Path.GetFileName(path)))))
            {
                if (StatedGeneration(shard) == FolderLayout.GenerationIn(Path.GetFileName(shard)))
                    FilePlace.Remove(shard);
            }
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // Files that cannot be listed stay; no reader opens them.
        }
    }

    private static void RemoveStage(string folder, string stage, HashSet<string> kept, HashSet<string?> generations)
    {
        string list = Path.Combine(stage, ReplacedList);
        if (generations.Contains(GenerationOf(Path.GetFileName(stage.AsSpan())).ToString()) && File.Exists(list))
        {
            foreach (string name in File.ReadLines(list).Where(name => !kept.Contains(name) && ShardIndex.IsShardName(name)))
                FilePlace.Remove(Path.Combine(folder, name));
        }

        FilePlace.Remove(stage);
    }

    private static ReadOnlySpan<char> GenerationOf(ReadOnlySpan<char> stage)
    {
        const int Digits = FolderLayout.GenerationDigits;
        return stage.Length == StageHead.Length + Digits + StageTail.Length && stage.StartsWith(StageHead) && stage.EndsWith(StageTail) &&
            FilePlace.IsHex(stage.Slice(StageHead.Length, Digits)) ? stage.Slice(StageHead.Length, Digits) : [];
    }

    private static string? StatedGeneration(string shard)
    {
        try
        {
            using var file = SafetensorsFile.Open(shard);
            return file.OwnMetadata.GetValueOrDefault(MetadataKeys.Generation);
        }
        catch (InvalidModelException)
        {
            return null;
        }
    }
}
