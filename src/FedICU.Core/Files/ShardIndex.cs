using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>
/// The content of a <c>model.safetensors.index.json</c>, checked as far as possible without the shards.
/// </summary>
internal sealed class ShardIndex
{
    // Bytes. An index lists each tensor once, as a header does, so the same limit is used.
    private const int MaxLength = SafetensorsHeader.MaxLength;

    // characters; common file systems allow at most 255 bytes
    private const int LongestName = 255;

    private const string Suffix = ".safetensors";

    private ShardIndex(OrderedDictionary<string, string> weightMap, byte[] metadata, string? generation)
    {
        WeightMap = weightMap;
        Metadata = metadata;
        Generation = generation;
    }

    /// <summary>Gets the shard of each tensor, in the file's order.</summary>
    public OrderedDictionary<string, string> WeightMap { get; }

    /// <summary>Gets the raw JSON of the index's own metadata; empty if it has none.</summary>
    public byte[] Metadata { get; }

    /// <summary>Gets the generation that its shards must have, or null if the index states none.</summary>
    public string? Generation { get; }

    /// <summary>Returns the shards that an index lists, or null if the index cannot be read.</summary>
    public static string[]? TryReadShardNames(string path)
    {
        try
        {
            return [.. Parse(ReadText(path), path).WeightMap.Values.Distinct(StringComparer.Ordinal)];
        }
        catch (InvalidModelException)
        {
            return null;
        }
    }

    /// <summary>Reads the bytes of an index.</summary>
    public static byte[] ReadText(string path) => ModelFile.ReadAll(path, MaxLength);

    public static ShardIndex Parse(ReadOnlySpan<byte> json, string path)
    {
        // The reader does not check the text of strings that it skips.
        if (!Utf8.IsValid(json))
            throw new InvalidModelException($"'{path}' is not valid UTF-8{FileHint.Describe(json, expectsJson: true)}.");
        var reader = new Utf8JsonReader(json);
        try
        {
            return Parse(ref reader, json, path);
        }
        catch (JsonException e)
        {
            string hint = FileHint.Describe(json, expectsJson: true);
            throw new InvalidModelException($"'{path}' is not valid JSON at byte {reader.BytesConsumed}{hint}.", e);
        }
        catch (InvalidOperationException e)
        {
            // The reader checks a string only when its text is requested.
            throw new InvalidModelException($"'{path}' holds a string that is not valid Unicode at byte {reader.TokenStartIndex}.", e);
        }
    }

    private static ShardIndex Parse(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, string path)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new InvalidModelException($"'{path}' is {Sentence.Kind(reader.TokenType)}, expected an object with a weight_map.");

        OrderedDictionary<string, string>? weightMap = null;
        byte[]? metadata = null;
        string? generation = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("weight_map"u8))
            {
                if (weightMap is not null)
                    throw new InvalidModelException($"'{path}' holds weight_map twice.");
                weightMap = ReadWeightMap(ref reader, path);
            }
            else if (reader.ValueTextEquals("metadata"u8))
            {
                if (metadata is not null)
                    throw new InvalidModelException($"'{path}' holds metadata twice.");
                reader.Read();
                int start = (int)reader.TokenStartIndex;
                generation = CheckMetadata(ref reader, path);
                metadata = json[start..(int)reader.BytesConsumed].ToArray();
            }
            else
            {
                // Other fields say nothing about the location of tensors.
                SkipField(ref reader);
            }
        }

        while (reader.Read())
        {
            // Reads to the end, so that anything but white space there is an error.
        }

        return new ShardIndex(weightMap ?? throw new InvalidModelException($"'{path}' has no weight_map."), metadata ?? [], generation);
    }

    /// <summary>Skips the metadata, which is kept as raw JSON. Checks its strings and returns the generation.</summary>
    private static string? CheckMetadata(ref Utf8JsonReader reader, string path)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new InvalidModelException($"'{path}' has {Sentence.Kind(reader.TokenType)} for its metadata, expected an object.");
        int depth = reader.CurrentDepth;
        string? generation = null;
        while (reader.Read() && reader.CurrentDepth > depth)
        {
            CheckText(ref reader);
            bool isOwnField = reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth == depth + 1;
            if (!isOwnField || !reader.ValueTextEquals(MetadataKeys.Generation))
                continue;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw new InvalidModelException(
                    $"'{path}' has {Sentence.Kind(reader.TokenType)} for its {MetadataKeys.Generation}, expected a string.");
            generation = reader.GetString();
        }

        return generation;
    }

    /// <summary>Skips a field, checking only its strings.</summary>
    private static void SkipField(ref Utf8JsonReader reader)
    {
        CheckText(ref reader);
        int depth = reader.CurrentDepth;
        reader.Read();
        CheckText(ref reader);
        if (reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray))
            return;
        while (reader.Read() && reader.CurrentDepth > depth)
            CheckText(ref reader);
    }

    // Rejects text that could not be written again, such as an unpaired surrogate. The text itself is not kept.
    private static void CheckText(ref Utf8JsonReader reader)
    {
        if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName))
            return;
        char[] text = ArrayPool<char>.Shared.Rent(reader.ValueSpan.Length);
        try
        {
            _ = reader.CopyString(text);
        }
        finally
        {
            ArrayPool<char>.Shared.Return(text);
        }
    }

    private static OrderedDictionary<string, string> ReadWeightMap(ref Utf8JsonReader reader, string path)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new InvalidModelException($"'{path}' has {Sentence.Kind(reader.TokenType)} for its weight_map, expected an object.");

        var weightMap = new OrderedDictionary<string, string>(StringComparer.Ordinal);
        // Each shard's name is kept once, however many tensors refer to it.
        var shards = new HashSet<string>(StringComparer.Ordinal);
        string? last = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string tensor = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw new InvalidModelException(
                    $"'{path}' has {Sentence.Kind(reader.TokenType)} for tensor {Sentence.Quote(tensor)}, expected the name of a shard.");
            if (last is null || !reader.ValueTextEquals(last))
            {
                string name = reader.GetString()!;
                if (!shards.TryGetValue(name, out last))
                {
                    CheckShardName(name, tensor, path);
                    shards.Add(last = name);
                }
            }

            if (!weightMap.TryAdd(tensor, last))
                throw new InvalidModelException($"'{path}' lists tensor {Sentence.Quote(tensor)} twice.");
        }

        return weightMap;
    }

    /// <summary>
    /// Determines whether a name is a plain file name. An index from elsewhere must not make this library read or
    /// replace files outside the index's folder.
    /// </summary>
    public static bool IsShardName(string shard) =>
        shard.Length > Suffix.Length && shard.Length <= LongestName && shard.EndsWith(Suffix, StringComparison.Ordinal) &&
        !shard.AsSpan().ContainsAny(@"/\:") && !shard.AsSpan().ContainsAnyInRange('\0', '\u001f');

    private static void CheckShardName(string shard, string tensor, string path)
    {
        if (!IsShardName(shard))
            throw new InvalidModelException($"'{path}' puts tensor {Sentence.Quote(tensor)} into the shard {Sentence.Quote(shard)}, " +
                "expected the plain name of a .safetensors file in the index's own folder.");
    }

    /// <summary>Writes the text of an index in the layout that transformers uses.</summary>
    /// <param name="weightMap">The shard of each tensor, in the order to write.</param>
    /// <param name="metadata">
    /// The raw JSON of the metadata. It is copied byte for byte, except for total_size and the generation.
    /// </param>
    /// <param name="generation">The generation of the shards.</param>
    /// <param name="totalSize">The total length of all tensors' data in bytes.</param>
    public static ReadOnlyMemory<byte> Write(
        IEnumerable<KeyValuePair<string, string>> weightMap, ReadOnlyMemory<byte> metadata, string generation, long totalSize)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = HeaderWriter.Encoder }))
        {
            writer.WriteStartObject();
            writer.WriteStartObject("metadata");
            writer.WriteNumber("total_size", totalSize);
            writer.WriteString(MetadataKeys.Generation, generation);
            CopyOtherFields(metadata.Span, writer);
            writer.WriteEndObject();
            writer.WriteStartObject("weight_map");
            foreach (var (tensor, shard) in weightMap)
                writer.WriteString(tensor, shard);
            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        return buffer.WrittenMemory;
    }

    private static void CopyOtherFields(ReadOnlySpan<byte> metadata, Utf8JsonWriter writer)
    {
        if (metadata.IsEmpty)
            return;
        var reader = new Utf8JsonReader(metadata);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isReplaced = reader.ValueTextEquals("total_size") || reader.ValueTextEquals(MetadataKeys.Generation);
            if (!isReplaced)
                writer.WritePropertyName(reader.GetString()!);
            reader.Read();
            int start = (int)reader.TokenStartIndex;
            reader.Skip();
            if (!isReplaced)
                writer.WriteRawValue(metadata[start..(int)reader.BytesConsumed], skipInputValidation: true);
        }
    }
}
