namespace FedICU;

/// <summary>The progress of a round, or of the creation of a client's update.</summary>
/// <param name="Phase">
/// The phase. A round has <c>check</c> if the global model's digest is computed, <c>prepare</c> if the strategy first
/// passes over all tensors, and <c>aggregate</c>. A round that starts over without a dropped client repeats the last
/// two. A client's update has <c>select</c> and <c>write</c>.
/// </param>
/// <param name="Tensor">The tensor that is in progress or has just been finished.</param>
/// <param name="BytesDone">
/// The bytes of the global model's tensors that are done in this phase; never less than before. It is an estimate
/// within a tensor of several passes.
/// </param>
/// <param name="BytesTotal">
/// The bytes of the phase: each tensor's, times the number of the phase's passes over the model.
/// </param>
public readonly record struct RoundProgress(string Phase, string Tensor, long BytesDone, long BytesTotal);
