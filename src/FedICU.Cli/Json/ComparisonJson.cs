using System.Text.Json.Serialization;
using FedICU.Cli.Comparing;

namespace FedICU.Cli.Json;

/// <summary>
/// Reads and writes the files of <c>fedicu compare</c>. A metric that is NaN or infinite is the text <c>"NaN"</c>,
/// <c>"Infinity"</c> or <c>"-Infinity"</c>, so that it is not lost.
/// </summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, NewLine = "\n",
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(RunResult))]
[JsonSerializable(typeof(ComparisonResults))]
internal sealed partial class ComparisonJson : JsonSerializerContext;
