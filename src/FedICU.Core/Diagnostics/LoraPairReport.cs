namespace FedICU;

/// <summary>A LoRA pair's cross-term.</summary>
/// <param name="Name">The module: the tensors' name up to <c>.lora_A</c>.</param>
/// <param name="CrossTerm">
/// ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)||, weighted by the clients' shares, Frobenius norms; 0 where the denominator is.
/// </param>
public sealed record LoraPairReport(string Name, double CrossTerm);
