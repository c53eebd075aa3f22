using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>Writes the header of a safetensors file for tensors whose data follow one another in the order given.</summary>
internal static class HeaderWriter
{
    /// <summary>Escapes what JSON demands and leaves other characters as they are; nothing here is ever embedded in HTML.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>The file's first bytes: the header's length and the header, padded with spaces so that the data start at a multiple of 8.</summary>
    /// <param name="tensors">The tensors in the order of their data.</param>
    /// <param name="metadata">The metadata; written in the ordinal order of its keys, so that equal models are equal files.</param>
    /// <param name="location">The file, for messages.</param>
    /// <param name="totalLength">The bytes of the whole file.</param>
    /// <exception cref="FedIcuException">The format cannot hold the tensors or the metadata.</exception>
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
                        $"'{location}' cannot hold tensor {Sentence.Quote(tensor.Name)} of {Sentence.Count(tensor.ByteLength, "byte")} beside the others.");
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
                    $"'{location}' cannot hold the metadata {Sentence.Quote(key)}: half of a surrogate pair is no valid text.");
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

    // what our own reader, and the reference implementation, would refuse is not written
    private static void CheckTensor(TensorInfo tensor, HashSet<string> names, string location)
    {
        string? reason =
            tensor.Name == "__metadata__" ? "the name is reserved" :
            !Sentence.IsUnicode(tensor.Name) ? "half of a surrogate pair is no valid name" :
            !names.Add(tensor.Name) ? "the name is there already" :
            tensor.Shape.Rank > TensorShape.MaxRank ? $"it has more than {TensorShape.MaxRank} dimensions" :
            (Int128)tensor.ElementCount * tensor.DType.BitSize % 8 != 0 ? $"{tensor} takes no whole bytes" :
            null;
        if (reason is not null)
            throw new FedIcuException($"'{location}' cannot hold tensor {Sentence.Quote(tensor.Name)}: {reason}.");
    }
}
