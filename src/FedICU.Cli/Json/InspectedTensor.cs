namespace FedICU.Cli.Json;

/// <summary>A tensor of <c>fedicu inspect --json</c>. The figures from the norm on need <c>--stats</c>.</summary>
internal sealed record InspectedTensor(
    string Name, string Dtype, IReadOnlyList<long> Shape, long Elements, long Bytes, double? Norm, double? Mean, double? Minimum,
    double? Maximum, long? NonFinite);
