namespace FedICU.Files.Publishing;

/// <summary>
/// What a run that was killed left in a folder. Removed by the next one that holds the folder's lock; a user's files never are.
/// </summary>
internal static class FolderLeftovers
{
    private const string StageHead = ".fedicu.", StageTail = ".tmp", ReplacedList = "replaced";

    /// <summary>The folder in a folder where a generation is staged.</summary>
    public static string StageOf(string folder, string generation) => Path.Combine(folder, StageHead + generation + StageTail);

    /// <summary>Whether a name is one of <see cref="StageOf"/>.</summary>
    public static bool IsStage(ReadOnlySpan<char> name) => GenerationOf(name).Length > 0;

    /// <summary>Notes in the stage which shards go once the index is of this generation.</summary>
    public static void NoteReplaced(string stage, IEnumerable<string> shards) =>
        File.WriteAllLines(Path.Combine(stage, ReplacedList), shards);

    /// <summary>The shards that an index names; null where it cannot be read.</summary>
    public static string[]? ShardsOf(string folder, string index)
    {
        try
        {
            return [.. ShardIndex.Read(Path.Combine(folder, index)).WeightMap.Values.Distinct(StringComparer.Ordinal)];
        }
        catch (InvalidModelException)
        {
            return null;
        }
    }

    /// <summary>Removes stages, the shards that a stage was about to remove, and shards of a generation that no index names.</summary>
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
            string[]?[] named = [.. ModelFolder.Indexes(folder).Select(index => ShardsOf(folder, index))];
            if (named.Any(names => names is null))
                return; // what an index names that cannot be read is not known
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
            // what cannot be listed stays; nothing reads it
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
        const int Digits = 12;
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
