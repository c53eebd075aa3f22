namespace FedICU.Cli.Json;

/// <summary>The result of <c>fedicu inspect --json</c>.</summary>
/// <param name="Model">The path as typed.</param>
/// <param name="Kind">The kind of model, in words.</param>
/// <param name="Digest">The digest of names, types, shapes and values.</param>
/// <param name="Elements">The number of all tensors' elements.</param>
/// <param name="Bytes">The bytes of all tensors.</param>
/// <param name="Metadata">The metadata of the files.</param>
/// <param name="Tensors">The tensors, in the model's order.</param>
internal sealed record InspectedModel(
    string Model, string Kind, string Digest, long Elements, long Bytes, IReadOnlyDictionary<string, string> Metadata,
    IReadOnlyList<InspectedTensor> Tensors);
