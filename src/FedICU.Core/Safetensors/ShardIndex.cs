using System.Text;
using System.Text.Json;

namespace FedICU.Safetensors;

/// <summary>The contents of a <c>model.safetensors.index.json</c>, checked as far as that is possible without the shards.</summary>
internal sealed class ShardIndex
{
    // an index names each tensor once, as a header does
    private const int MaxLength = SafetensorsHeader.MaxLength;

    private ShardIndex(OrderedDictionary<string, string> weightMap, byte[] metadata)
    {
        WeightMap = weightMap;
        Metadata = metadata;
    }

    /// <summary>Tensor to shard, in the file's order.</summary>
    public OrderedDictionary<string, string> WeightMap { get; }

    /// <summary>The raw JSON of the index's own metadata; empty where it has none.</summary>
    public byte[] Metadata { get; }

    public static ShardIndex Read(string path) => Parse(ModelFile.ReadAll(path, MaxLength), path);

    public static ShardIndex Parse(ReadOnlySpan<byte> json, string path)
    {
        var reader = new Utf8JsonReader(json);
        try
        {
            return Parse(ref reader, json, path);
        }
        catch (JsonException e)
        {
            throw new InvalidModelException($"'{path}' is not valid JSON at byte {reader.BytesConsumed}{FileHint.After(json, expectsJson: true)}.", e);
        }
        catch (InvalidOperationException e)
        {
            // the reader checks the text of a string only when it is asked for it
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
                if (reader.TokenType != JsonTokenType.StartObject)
                    throw new InvalidModelException($"'{path}' has {Sentence.Kind(reader.TokenType)} for its metadata, expected an object.");
                int start = (int)reader.TokenStartIndex;
                reader.Skip();
                metadata = json[start..(int)reader.BytesConsumed].ToArray();
                _ = Write([], metadata, 0); // what cannot be written again, such as half of a surrogate pair, is refused here
            }
            else
            {
                // other fields say nothing about where tensors are
                reader.Skip();
            }
        }

        while (reader.Read())
        {
            // reads to the end, where anything but white space is an error
        }

        return new ShardIndex(weightMap ?? throw new InvalidModelException($"'{path}' has no weight_map."), metadata ?? []);
    }

    private static OrderedDictionary<string, string> ReadWeightMap(ref Utf8JsonReader reader, string path)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new InvalidModelException($"'{path}' has {Sentence.Kind(reader.TokenType)} for its weight_map, expected an object.");

        var weightMap = new OrderedDictionary<string, string>(StringComparer.Ordinal);
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
                last = reader.GetString()!;
                CheckShardName(last, tensor, path);
            }

            if (!weightMap.TryAdd(tensor, last))
                throw new InvalidModelException($"'{path}' lists tensor {Sentence.Quote(tensor)} twice.");
        }

        return weightMap;
    }

    // an index from elsewhere must not reach files outside its folder, in reading or, copied to an output's layout, in writing
    private static void CheckShardName(string shard, string tensor, string path)
    {
        const string Suffix = ".safetensors";
        if (shard.Length <= Suffix.Length || !shard.EndsWith(Suffix, StringComparison.Ordinal) || shard.Length > 255 ||
            shard.AsSpan().ContainsAny(@"/\:") || shard.AsSpan().ContainsAnyInRange('\0', '\u001f'))
            throw new InvalidModelException($"'{path}' puts tensor {Sentence.Quote(tensor)} into the shard {Sentence.Quote(shard)}, " +
                "expected the plain name of a .safetensors file in the index's own folder.");
    }

    /// <summary>The text of an index, in the layout that transformers writes.</summary>
    /// <param name="weightMap">Tensor to shard, in the order to write.</param>
    /// <param name="metadata">The raw JSON of the metadata to keep; its total_size is replaced.</param>
    /// <param name="totalSize">The sum of all tensors' bytes.</param>
    public static byte[] Write(IEnumerable<KeyValuePair<string, string>> weightMap, ReadOnlyMemory<byte> metadata, long totalSize)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = HeaderWriter.Encoder }))
        {
            writer.WriteStartObject();
            writer.WriteStartObject("metadata");
            writer.WriteNumber("total_size", totalSize);
            if (!metadata.IsEmpty)
            {
                using var kept = JsonDocument.Parse(metadata);
                foreach (JsonProperty property in kept.RootElement.EnumerateObject())
                {
                    if (!property.NameEquals("total_size"u8))
                        property.WriteTo(writer);
                }
            }

            writer.WriteEndObject();
            writer.WriteStartObject("weight_map");
            foreach (var (tensor, shard) in weightMap)
                writer.WriteString(tensor, shard);
            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        buffer.Write(Encoding.UTF8.GetBytes("\n"));
        return buffer.ToArray();
    }
}
