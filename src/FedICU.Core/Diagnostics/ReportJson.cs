using System.Text.Json;
using System.Text.Json.Serialization;

namespace FedICU.Diagnostics;

// the generated reader sets a member that is absent to null or 0, whatever its default: lists take null for empty, numbers are required
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, NewLine = "\n",
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true,
    Converters = [typeof(FiniteOrNull)])]
[JsonSerializable(typeof(RoundReport))]
internal sealed partial class ReportJson : JsonSerializerContext;

/// <summary>JSON has no NaN and no infinities: they are null, which reads back as NaN, or as null where that is allowed.</summary>
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
