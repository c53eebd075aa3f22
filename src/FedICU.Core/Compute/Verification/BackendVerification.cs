using FedICU.Compute.Verification;

namespace FedICU.Compute;

/// <summary>
/// Runs every verb of a backend on random data against <see cref="ReferenceBackend"/>: each type, odd lengths, one and many inputs, outputs that hold
/// NaNs beforehand and have guards on both sides. For a machine's first use, and for backends of one's own.
/// </summary>
public static class BackendVerification
{
    /// <summary>Verifies a backend.</summary>
    /// <param name="backend">The backend.</param>
    /// <param name="seed">Decides the random data; the same seed gives the same data.</param>
    /// <param name="cancellationToken">Ends the verification.</param>
    /// <returns>A row for each verb and type.</returns>
    public static VerificationResult Run(IComputeBackend backend, int seed = 1, CancellationToken cancellationToken = default) => Run(backend, quick: false, seed, cancellationToken);

    /// <summary>The same, or of few lengths and shapes: a device's check before its first use.</summary>
    internal static VerificationResult Run(IComputeBackend backend, bool quick, int seed = 1, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(backend);
        (string Verb, Func<VerificationTrial, double> Trial)[] verbs =
        [
            (nameof(IComputeBackend.WeightedSum), trial => trial.WeightedSum()),
            (nameof(IComputeBackend.AddSquares), trial => trial.AddSquares()),
            (nameof(IComputeBackend.AddGram), trial => trial.AddGram()),
            (nameof(IComputeBackend.AddProjections), trial => trial.AddProjections()),
            (nameof(IComputeBackend.Combine), trial => trial.Combine()),
            (nameof(IComputeBackend.CountNonFinite), trial => trial.CountNonFinite()),
            (nameof(IComputeBackend.AddMoments), trial => trial.AddMoments()),
            (nameof(IComputeBackend.SelectImportant), trial => trial.SelectImportant()),
            (nameof(IComputeBackend.Importance), trial => trial.Importance()),
            (nameof(IComputeBackend.Pack), trial => trial.Pack()),
            (nameof(IComputeBackend.AddProximal), trial => trial.AddProximal()),
        ];
        var rows = new List<VerificationRow>();
        foreach ((string verb, Func<VerificationTrial, double> run) in verbs)
        {
            foreach (DType dtype in (ReadOnlySpan<DType>)[DType.F64, DType.F32, DType.F16, DType.BF16])
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var trial = new VerificationTrial(backend, dtype, HashCode(verb, seed), quick);
                double error = run(trial);
                rows.Add(new VerificationRow(verb, dtype, trial.Elements, error));
            }
        }

        return new VerificationResult(backend.Name, rows);
    }

    // string.GetHashCode differs from process to process
    private static int HashCode(string verb, int seed)
    {
        foreach (char letter in verb)
            seed = unchecked(seed * 31 + letter);
        return seed;
    }
}
