using System.Text.Json.Serialization;
using FedICU.Diagnostics;

namespace FedICU.Cli.Json;

/// <summary>Writes the results of <c>--json</c>; docs/command-line.md lists their keys.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, NewLine = "\n",
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, Converters = [typeof(FiniteOrNull)])]
[JsonSerializable(typeof(AggregatedModel))]
[JsonSerializable(typeof(InspectedModel))]
[JsonSerializable(typeof(ModelComparison))]
[JsonSerializable(typeof(StrategyListing))]
[JsonSerializable(typeof(DeviceListing))]
internal sealed partial class CliJson : JsonSerializerContext;
