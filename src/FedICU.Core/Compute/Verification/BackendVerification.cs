using FedICU.Compute.Verification;

namespace FedICU.Compute;

/// <summary>
/// Compares a backend with <see cref="ReferenceBackend"/>. Runs every verb on random data: each type, odd lengths, one
/// and many inputs. Outputs are filled with NaNs beforehand and have guards on both sides. Use it on a machine's first
/// use, and for backends of your own.
/// </summary>
public static class BackendVerification
{
    /// <summary>The types that are computed with.</summary>
    private static readonly DType[] Types = [DType.F64, DType.F32, DType.F16, DType.BF16];

    /// <summary>
    /// Verifies a backend: the verbs of <see cref="IComputeBackend"/>, and those of <see cref="IClientBackend"/> if it
    /// has them.
    /// </summary>
    /// <param name="backend">The backend.</param>
    /// <param name="seed">Determines the random data; the same seed gives the same data.</param>
    /// <param name="cancellationToken">Cancels the verification.</param>
    /// <returns>A row for each verb and type.</returns>
    public static VerificationResult Run(IComputeBackend backend, int seed = 1, CancellationToken cancellationToken = default) =>
        Run(backend, quick: false, seed, cancellationToken);

    /// <summary>
    /// Verifies a backend, on few lengths and shapes if <paramref name="quick"/> is set: a device's check before its
    /// first use.
    /// </summary>
    internal static VerificationResult Run(IComputeBackend backend, bool quick, int seed = 1, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(backend);
        var rows = new List<VerificationRow>();
        foreach ((string verb, Action<VerificationTrial> run) in GetVerbs(backend))
        {
            foreach (DType dtype in Types)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var trial = new VerificationTrial(dtype, HashCode(verb, seed), quick);
                run(trial);
                rows.Add(new VerificationRow(verb, dtype, trial.Elements, trial.Errors.Worst));
            }
        }

        return new VerificationResult(backend.Name, rows);
    }

    private static IEnumerable<(string Verb, Action<VerificationTrial> Run)> GetVerbs(IComputeBackend backend)
    {
        var server = new ServerVerbTrials(backend);
        yield return (nameof(IComputeBackend.WeightedSum), server.WeightedSum);
        yield return (nameof(IComputeBackend.AddSquares), server.AddSquares);
        yield return (nameof(IComputeBackend.AddGram), server.AddGram);
        yield return (nameof(IComputeBackend.AddProjections), server.AddProjections);
        yield return (nameof(IComputeBackend.Combine), server.Combine);
        yield return (nameof(IComputeBackend.MiddleMean), server.MiddleMean);
        yield return (nameof(IComputeBackend.AddPairDistances), server.AddPairDistances);
        yield return (nameof(IComputeBackend.AddDistances), server.AddDistances);
        yield return (nameof(IComputeBackend.CountNonFinite), server.CountNonFinite);
        if (backend is not IClientBackend clientBackend)
            yield break;
        var client = new ClientVerbTrials(clientBackend);
        yield return (nameof(IClientBackend.AddMoments), client.AddMoments);
        yield return (nameof(IClientBackend.SelectImportant), client.SelectImportant);
        yield return (nameof(IClientBackend.Importance), client.Importance);
        yield return (nameof(IClientBackend.Pack), client.Pack);
        yield return (nameof(IClientBackend.AddProximal), client.AddProximal);
    }

    // string.GetHashCode differs from process to process
    private static int HashCode(string verb, int seed)
    {
        foreach (char letter in verb)
            seed = unchecked(seed * 31 + letter);
        return seed;
    }
}
