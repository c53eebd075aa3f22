using System.Security.Cryptography;
using System.Text.RegularExpressions;
using FedICU.Text;

namespace FedICU.Files.Publishing;

/// <summary>The files of a folder, and which tensors go to each.</summary>
/// <param name="Files">The name and the tensors of each safetensors file.</param>
/// <param name="Marker">
/// The small file that determines the kind of the folder: an index or an adapter configuration. Null for a single file.
/// </param>
/// <param name="Stamp">The metadata entry by which a reader recognizes that a file belongs to the marker.</param>
/// <param name="Generation">Twelve hexadecimal digits that are unique to this write.</param>
internal sealed partial record FolderLayout(
    IReadOnlyList<(string Name, IReadOnlyList<TensorInfo> Tensors)> Files,
    (string Name, ReadOnlyMemory<byte> Bytes)? Marker,
    KeyValuePair<string, string>? Stamp,
    string Generation)
{
    /// <summary>
    /// The hexadecimal digits of a generation. Chosen: 48 random bits do not repeat among the models of one folder.
    /// </summary>
    public const int GenerationDigits = 12;

    private const string Ending = ".safetensors";

    /// <summary>Gets the name of the file that determines the kind of the folder.</summary>
    public string DecidingName => Marker?.Name ?? ModelFolder.SingleFile;

    /// <summary>Gets whether the marker is an index.</summary>
    public bool IsSharded => ModelFolder.IsIndex(DecidingName);

    /// <summary>Creates the layout of a model in one file.</summary>
    public static FolderLayout Single(IReadOnlyList<TensorInfo> tensors) =>
        new([(ModelFolder.SingleFile, tensors)], null, null, NewGeneration());

    /// <summary>Creates the layout of a PEFT adapter.</summary>
    public static FolderLayout Adapter(IReadOnlyList<TensorInfo> tensors, PeftAdapterConfig config) => new(
        [(ModelFolder.AdapterModel, tensors)], (ModelFolder.AdapterConfig, config.RawJson),
        new(MetadataKeys.Config, PeftAdapter.ChecksumOf(config.RawJson.Span)), NewGeneration());

    /// <summary>
    /// Creates a layout with the same shards as another model. The shards get new names with a new generation.
    /// </summary>
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
        var names = shards.Keys.Select((shard, i) => (shard, Name: BuildName(shard, layoutOf.Generation, generation, i + 1, shards.Count)))
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

    /// <summary>
    /// Returns the generation in a shard's name, or null if the name does not have the form that <see cref="Sharded"/>
    /// gives.
    /// </summary>
    public static string? GenerationIn(string shard) => ShardName().Match(shard) is { Success: true } match ? match.Groups[2].Value : null;

    /// <summary>Builds a shard's new name from the stem of its old name, the generation and its number.</summary>
    private static string BuildName(string shard, string? oldGeneration, string generation, int number, int count)
    {
        // Bytes. File names have at most 255 bytes, and with fewer than 100,000 shards the part after the stem takes
        // 41.
        const int LongestStem = 200;
        string stem = Numbering().Replace(shard[..^Ending.Length], "");
        if (oldGeneration is not null && stem.EndsWith("-" + oldGeneration, StringComparison.Ordinal))
            stem = stem[..^(oldGeneration.Length + 1)];
        while (System.Text.Encoding.UTF8.GetByteCount(stem) > LongestStem)
            stem = stem[..^1];
        return string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{stem}-{generation}-{number:D5}-of-{count:D5}{Ending}");
    }

    private static string NewGeneration() => RandomNumberGenerator.GetHexString(GenerationDigits, lowercase: true);

    [GeneratedRegex(@"-\d{5,}-of-\d{5,}$", RegexOptions.CultureInvariant)]
    private static partial Regex Numbering();

    [GeneratedRegex(@"^(.*)-([0-9a-f]{12})-\d{5,}-of-\d{5,}\.safetensors$", RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex ShardName();
}
