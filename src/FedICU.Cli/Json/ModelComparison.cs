namespace FedICU.Cli.Json;

/// <summary>The result of <c>fedicu diff --json</c>.</summary>
/// <param name="A">The first model.</param>
/// <param name="B">The second model.</param>
/// <param name="Identical">Whether the digests are equal.</param>
/// <param name="DifferentTensors">The number of tensors with different values.</param>
/// <param name="Tensors">The tensors of both models.</param>
internal sealed record ModelComparison(
    ComparedModel A, ComparedModel B, bool Identical, int DifferentTensors, IReadOnlyList<ComparedTensor> Tensors);
