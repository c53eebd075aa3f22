using System.Text;
using System.Text.Json;
using FedICU.Text;

namespace FedICU.Fedn;

/// <summary>The weight in a client's metadata.</summary>
/// <param name="Examples">
/// The value of <c>num_examples</c>; null if the metadata have none, NaN if it cannot be read.
/// </param>
/// <param name="Fault">
/// Why the weight cannot be used, as the end of a sentence that begins with the client's name; null if it can be used.
/// </param>
internal readonly record struct ClientMetadata(double? Examples, string? Fault)
{
    /// <summary>The longest metadata accepted, in bytes. Chosen: FEDn's own metadata have a few hundred.</summary>
    public const int MaxLength = 1 << 20;

    /// <summary>
    /// Reads a JSON object in UTF-8. Python's literals NaN, Infinity and -Infinity are accepted in all fields except
    /// <c>num_examples</c>.
    /// </summary>
    public static ClientMetadata Read(ReadOnlySpan<byte> text)
    {
        if (text.Length > MaxLength)
            return Unreadable($"the metadata have {text.Length} bytes; at most {MaxLength} were expected.");
        byte[] json = [.. text];
        MaskNonFinite(json);
        var reader = new Utf8JsonReader(json);
        try
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
                return Unreadable($"the metadata are {Sentence.Kind(reader.TokenType)}; an object was expected.");
            ClientMetadata? stated = null;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isExamples = reader.ValueTextEquals(MetadataKeys.Examples);
                reader.Read();
                double number = reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out double value) ? value : double.NaN;
                int start = (int)reader.TokenStartIndex;
                reader.Skip();
                if (!isExamples)
                    continue;
                if (stated is not null)
                    return Unreadable($"the metadata hold {MetadataKeys.Examples} twice.");
                stated = Check(number, text[start..(int)reader.BytesConsumed]);
            }

            // the reader throws if anything but white space follows the object
            while (reader.Read())
            {
            }

            return stated ?? default;
        }
        catch (JsonException)
        {
            return Unreadable($"the metadata are not valid JSON of at most 64 levels: the fault is at byte {reader.BytesConsumed}.");
        }
        catch (InvalidOperationException)
        {
            // the reader validates the text of a name only when it compares it
            return Unreadable("the metadata hold a name that is not valid Unicode.");
        }
    }

    private static ClientMetadata Check(double number, ReadOnlySpan<byte> text) => new(
        number,
        number >= 0 && double.IsFinite(number) ? null
            : $"{MetadataKeys.Examples} is {Sentence.Clean(Encoding.UTF8.GetString(text))}; a finite number of at least 0 was expected.");

    private static ClientMetadata Unreadable(string fault) => new(double.NaN, fault);

    /// <summary>
    /// Replaces the literals NaN and Infinity, which Python writes and JSON does not have, by strings of the same
    /// length.
    /// </summary>
    private static void MaskNonFinite(Span<byte> json)
    {
        bool isInString = false;
        for (int at = 0; at < json.Length; at++)
        {
            if (json[at] == '"')
                isInString = !isInString;
            else if (isInString)
                at += json[at] == '\\' ? 1 : 0;
            else if (json[at..].StartsWith("NaN"u8))
                at = Mask(json, at, "NaN"u8.Length);
            else if (json[at..].StartsWith("Infinity"u8))
                at = Mask(json, at, "Infinity"u8.Length);
            else if (json[at..].StartsWith("-Infinity"u8))
                at = Mask(json, at, "-Infinity"u8.Length);
        }

        // returns the index of the last masked byte
        static int Mask(Span<byte> json, int at, int length)
        {
            json[at] = json[at + length - 1] = (byte)'"';
            return at + length - 1;
        }
    }
}
