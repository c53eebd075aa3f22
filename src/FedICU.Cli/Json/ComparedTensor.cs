namespace FedICU.Cli.Json;

/// <summary>A tensor of <c>fedicu diff --json</c>. An infinite difference is null.</summary>
internal sealed record ComparedTensor(
    string Name, string DtypeA, string DtypeB, long Elements, long DifferentElements, double? MaxAbsolute, double? MaxRelative,
    long? NonFiniteA, long? NonFiniteB);
