using System.Security.Cryptography;
using System.Text.RegularExpressions;
using FedICU.Text;

namespace FedICU.Files.Publishing;

/// <summary>Which files of a folder a model's tensors go to.</summary>
/// <param name="Files">Each safetensors file's name with its tensors.</param>
/// <param name="Marker">
/// The small file that makes a folder a model of its kind (index, adapter configuration); null for a lone file.
/// </param>
/// <param name="Stamp">The entry of each file's metadata by which a reader knows that it belongs to the marker.</param>
/// <param name="Generation">Twelve hexadecimal digits that are unique to this writing.</param>
internal sealed partial record FolderLayout(
    IReadOnlyList<(string Name, IReadOnlyList<TensorInfo> Tensors)> Files,
    (string Name, ReadOnlyMemory<byte> Bytes)? Marker,
    KeyValuePair<string, string>? Stamp,
    string Generation)
{
    private const string Ending = ".safetensors";

    /// <summary>The name of the file that decides what the folder is.</summary>
    public string DecidingName => Marker?.Name ?? ModelFolder.SingleFile;

    /// <summary>Whether the marker is an index.</summary>
    public bool IsSharded => ModelFolder.IsIndex(DecidingName);

    /// <summary>A model in one file.</summary>
    public static FolderLayout Single(IReadOnlyList<TensorInfo> tensors) =>
        new([(ModelFolder.SingleFile, tensors)], null, null, NewGeneration());

    /// <summary>A PEFT adapter.</summary>
    public static FolderLayout Adapter(IReadOnlyList<TensorInfo> tensors, PeftAdapterConfig config) => new(
        [(ModelFolder.AdapterModel, tensors)], (ModelFolder.AdapterConfig, config.RawJson),
        new(MetadataKeys.Config, PeftAdapter.ChecksumOf(config.RawJson.Span)), NewGeneration());

    /// <summary>A model that is sharded as another one; the shards have names of their own generation.</summary>
    public static FolderLayout Sharded(IReadOnlyList<TensorInfo> tensors, ShardedModel layoutOf)
    {
        var shards = new SortedDictionary<string, List<TensorInfo>>(StringComparer.Ordinal);
        foreach (TensorInfo tensor in tensors)
        {
            if (!layoutOf.WeightMap.TryGetValue(tensor.Name, out string? shard))
                throw new FedIcuException($"The layout of '{layoutOf.Location}' has no shard for tensor {Sentence.Quote(tensor.Name)}.");
            if (!shards.TryGetValue(shard, out List<TensorInfo>? content))
                shards.Add(shard, content = []);
            content.Add(tensor);
        }

        string generation = NewGeneration();
        var names = shards.Keys.Select((shard, i) => (shard, Name: NameOf(shard, layoutOf.Generation, generation, i + 1, shards.Count)))
            .ToDictionary(entry => entry.shard, entry => entry.Name, StringComparer.Ordinal);
        var written = tensors.Select(tensor => tensor.Name).ToHashSet(StringComparer.Ordinal);
        ReadOnlyMemory<byte> index = ShardIndex.Write(
            layoutOf.WeightMap.Where(entry => written.Contains(entry.Key))
                .Select(entry => KeyValuePair.Create(entry.Key, names[entry.Value])),
            layoutOf.IndexMetadata, generation, tensors.Sum(tensor => tensor.ByteLength));
        string indexName = Path.GetFileName(layoutOf.Location);
        return new FolderLayout(
            [.. shards.Select(shard => (names[shard.Key], (IReadOnlyList<TensorInfo>)shard.Value))],
            (ModelFolder.IsIndex(indexName) ? indexName : ModelFolder.ShardIndex, index),
            new(MetadataKeys.Generation, generation), generation);
    }

    /// <summary>The generation in a shard's name, null where it is not named as <see cref="Sharded"/> names shards.</summary>
    public static string? GenerationIn(string shard) => ShardName().Match(shard) is { Success: true } match ? match.Groups[2].Value : null;

    /// <summary>A shard's new name: the stem of the old one, the generation, its number.</summary>
    private static string NameOf(string shard, string? oldGeneration, string generation, int number, int count)
    {
        // file names have at most 255 bytes, of which the ending takes 41 where there are fewer than 100,000 shards
        const int LongestStem = 200;
        string stem = Numbering().Replace(shard[..^Ending.Length], "");
        if (oldGeneration is not null && stem.EndsWith("-" + oldGeneration, StringComparison.Ordinal))
            stem = stem[..^(oldGeneration.Length + 1)];
        while (System.Text.Encoding.UTF8.GetByteCount(stem) > LongestStem)
            stem = stem[..^1];
        return string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{stem}-{generation}-{number:D5}-of-{count:D5}{Ending}");
    }

    private static string NewGeneration() => RandomNumberGenerator.GetHexString(12, lowercase: true);

    [GeneratedRegex(@"-\d{5,}-of-\d{5,}$", RegexOptions.CultureInvariant)]
    private static partial Regex Numbering();

    [GeneratedRegex(@"^(.*)-([0-9a-f]{12})-\d{5,}-of-\d{5,}\.safetensors$", RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex ShardName();
}
