namespace FedICU.Compute;

/// <summary>The comparison of one verb with the reference, for one type.</summary>
/// <param name="Verb">The verb: a method of <see cref="IComputeBackend"/> or <see cref="IClientBackend"/>.</param>
/// <param name="DType">The type of the inputs and the output.</param>
/// <param name="Elements">The number of input elements tried.</param>
/// <param name="WorstError">
/// The largest difference divided by the allowed one: 0 if all bits are the same, at most 1 if the backend keeps the
/// contract, infinity if a rule without tolerance is broken. <see cref="IComputeBackend.WeightedSum"/> and all counts
/// allow no difference. Other outputs allow one unit in the last place (F64: 64 * 2^-53 of the largest magnitude), sums
/// n * 2^-52 of the sum of magnitudes, masks the tie rule (docs/algorithms.md, Numerics).
/// </param>
public sealed record VerificationRow(string Verb, DType DType, long Elements, double WorstError)
{
    /// <summary>Gets whether the backend keeps the contract.</summary>
    public bool Passed => WorstError <= 1;
}
