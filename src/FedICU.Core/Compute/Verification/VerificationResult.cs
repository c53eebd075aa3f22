namespace FedICU.Compute;

/// <summary>The comparison of a backend with the reference.</summary>
/// <param name="Backend">The backend's name.</param>
/// <param name="Rows">A row for each verb and type.</param>
public sealed record VerificationResult(string Backend, IReadOnlyList<VerificationRow> Rows)
{
    /// <summary>Gets whether every row passed.</summary>
    public bool Passed => Rows.All(row => row.Passed);
}
