namespace FedICU;

/// <summary>How far a round has come.</summary>
/// <param name="Phase">
/// What is being done: <c>check</c>, where the global model's digest is computed; <c>prepare</c>, where a strategy looks at all tensors first; <c>aggregate</c>.
/// A round that starts over without a dropped client begins the last two again. By a client: <c>select</c>, <c>write</c>.
/// </param>
/// <param name="Tensor">The tensor under way or just finished.</param>
/// <param name="BytesDone">Bytes of the global model's tensors done in this phase, an estimate inside a tensor that is looked at several times; never less than before.</param>
/// <param name="BytesTotal">Bytes that the phase goes through: each tensor as often as the phase goes over the model.</param>
public readonly record struct RoundProgress(string Phase, string Tensor, long BytesDone, long BytesTotal);
