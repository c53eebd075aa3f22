using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>Writes the header of a safetensors file whose tensors' data follow each other in the given order.</summary>
internal static class HeaderWriter
{
    /// <summary>Escapes only what JSON requires. This is safe because the text is never embedded in HTML.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>
    /// Builds the start of the file: the header's length and the header, padded with spaces so that the data start at a
    /// multiple of 8.
    /// </summary>
    /// <param name="tensors">The tensors in the order of their data.</param>
    /// <param name="metadata">
    /// The metadata, written in the ordinal order of its keys so that equal models give equal files.
    /// </param>
    /// <param name="location">The file's name in messages.</param>
    /// <param name="totalLength">The length of the whole file in bytes.</param>
    /// <exception cref="FedIcuException">The format cannot represent the tensors or the metadata.</exception>
    public static byte[] Write(
        IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata, string location, out long totalLength)
    {
        var buffer = new ArrayBufferWriter<byte>();
        buffer.Write(stackalloc byte[SafetensorsHeader.PrefixLength]);
        long dataLength = 0;
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = Encoder }))
        {
            writer.WriteStartObject();
            WriteMetadata(writer, metadata, location);
            var names = new HashSet<string>(StringComparer.Ordinal);
            foreach (TensorInfo tensor in tensors)
            {
                CheckTensor(tensor, names, location);
                if (tensor.ByteLength > long.MaxValue / 2 - dataLength)
                    throw new FedIcuException(
                        $"'{location}' cannot hold tensor {Sentence.Quote(tensor.Name)} of " +
                        $"{Sentence.Count(tensor.ByteLength, "byte")} in addition to the others.");
                WriteTensor(writer, tensor, dataLength);
                dataLength += tensor.ByteLength;
            }

            writer.WriteEndObject();
        }

        while (buffer.WrittenCount % 8 != 0)
            buffer.Write(" "u8);
        byte[] header = buffer.WrittenSpan.ToArray();
        int headerLength = header.Length - SafetensorsHeader.PrefixLength;
        if (headerLength > SafetensorsHeader.MaxLength)
            throw new FedIcuException(
                $"'{location}' would have a header of {headerLength} bytes, above the limit of {SafetensorsHeader.MaxLength}.");
        BinaryPrimitives.WriteInt64LittleEndian(header, headerLength);
        totalLength = header.Length + dataLength;
        return header;
    }

    private static void WriteMetadata(Utf8JsonWriter writer, IReadOnlyDictionary<string, string> metadata, string location)
    {
        if (metadata.Count == 0)
            return;
        writer.WriteStartObject("__metadata__"u8);
        foreach (var (key, value) in metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            if (!Sentence.IsUnicode(key) || !Sentence.IsUnicode(value))
                throw new FedIcuException(
                    $"'{location}' cannot hold the metadata {Sentence.Quote(key)}: it contains an unpaired surrogate.");
            writer.WriteString(key, value);
        }

        writer.WriteEndObject();
    }

    private static void WriteTensor(Utf8JsonWriter writer, TensorInfo tensor, long start)
    {
        writer.WriteStartObject(tensor.Name);
        writer.WriteString("dtype"u8, tensor.DType.SafetensorsName);
        writer.WriteStartArray("shape"u8);
        foreach (long dimension in tensor.Shape.Dimensions)
            writer.WriteNumberValue(dimension);
        writer.WriteEndArray();
        writer.WriteStartArray("data_offsets"u8);
        writer.WriteNumberValue(start);
        writer.WriteNumberValue(start + tensor.ByteLength);
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    // Rejects what this library's reader, or the reference implementation, would not accept.
    private static void CheckTensor(TensorInfo tensor, HashSet<string> names, string location)
    {
        string? reason =
            tensor.Name == "__metadata__" ? "the name is reserved" :
            !Sentence.IsUnicode(tensor.Name) ? "it contains an unpaired surrogate" :
            !names.Add(tensor.Name) ? "the name is already used" :
            tensor.Shape.Rank > TensorShape.MaxRank ? $"it has more than {TensorShape.MaxRank} dimensions" :
            (Int128)tensor.ElementCount * tensor.DType.BitSize % 8 != 0 ? $"{tensor} does not take a whole number of bytes" :
            null;
        if (reason is not null)
            throw new FedIcuException($"'{location}' cannot hold tensor {Sentence.Quote(tensor.Name)}: {reason}.");
    }
}
