using System.Text.Json;
using System.Text.Json.Serialization;

namespace FedICU.Diagnostics;

// the generated reader sets an absent member to null or 0 and not to its default: lists read null as empty, and numbers
// are required
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, NewLine = "\n",
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    Converters = [typeof(FiniteOrNull)])]
[JsonSerializable(typeof(RoundReport))]
internal sealed partial class ReportJson : JsonSerializerContext;

/// <summary>
/// Writes NaN and infinities, which JSON does not have, as null. Null is read as NaN, or as null if the member allows
/// it.
/// </summary>
internal sealed class FiniteOrNull : JsonConverter<double>
{
    public override bool HandleNull => true;

    public override double Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Null ? double.NaN : reader.GetDouble();

    public override void Write(Utf8JsonWriter writer, double value, JsonSerializerOptions options)
    {
        if (double.IsFinite(value))
            writer.WriteNumberValue(value);
        else
            writer.WriteNullValue();
    }
}
