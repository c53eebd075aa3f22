namespace FedICU;

/// <summary>A LoRA pair's cross-term.</summary>
/// <param name="Name">The module's name: the tensors' names before <c>.lora_A</c>.</param>
/// <param name="CrossTerm">
/// ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)||, with means weighted by the clients' shares and Frobenius norms; 0
/// if the denominator is 0.
/// </param>
public sealed record LoraPairReport(string Name, double CrossTerm);
