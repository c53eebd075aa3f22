namespace FedICU.Compute;

/// <summary>How a verb on one type compares with the reference.</summary>
/// <param name="Verb">The verb, a method of <see cref="IComputeBackend"/>.</param>
/// <param name="DType">The type of the inputs and the output.</param>
/// <param name="Elements">Elements of the inputs tried.</param>
/// <param name="WorstError">
/// The largest difference found over what is allowed: 0 where all bits are the same, at most 1 where the backend keeps the contract, infinite where
/// a rule without tolerance was broken. <see cref="IComputeBackend.WeightedSum"/> and all counts allow nothing; other outputs one unit in the last
/// place (F64: 64 * 2^-53 of the largest magnitude), sums n * 2^-52 of the sum of magnitudes, masks the tie rule (docs/algorithms.md, Numerics).
/// </param>
public sealed record VerificationRow(string Verb, DType DType, long Elements, double WorstError)
{
    /// <summary>Whether the backend keeps the contract.</summary>
    public bool Passed => WorstError <= 1;
}
