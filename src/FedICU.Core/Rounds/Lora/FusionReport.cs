namespace FedICU;

/// <summary>What <see cref="AdapterFusion"/> did.</summary>
/// <param name="Fused">The weights that got a product s B A.</param>
/// <param name="Replaced">The tensors that the adapter holds whole (modules_to_save).</param>
/// <param name="Added">
/// Tensors that the base model ties to others and the adapter changes alone: a head that is no longer the embedding.
/// The model's configuration must then not tie them.
/// </param>
public sealed record FusionReport(IReadOnlyList<string> Fused, IReadOnlyList<string> Replaced, IReadOnlyList<string> Added);
