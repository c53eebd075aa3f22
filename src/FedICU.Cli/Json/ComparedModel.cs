namespace FedICU.Cli.Json;

/// <summary>A model of <c>fedicu diff --json</c>.</summary>
internal sealed record ComparedModel(string Model, string Digest);
