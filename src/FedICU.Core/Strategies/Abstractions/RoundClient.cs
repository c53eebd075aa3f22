namespace FedICU;

/// <summary>A client that takes part in the round.</summary>
/// <param name="Id">The client's id.</param>
/// <param name="Weight">The client's weight n_k, greater than 0.</param>
/// <param name="Share">The client's share p_k = n_k / sum_j n_j.</param>
public sealed record RoundClient(string Id, double Weight, double Share)
{
    /// <summary>
    /// What the client states about its training, if a stage reads it (<see cref="Stage.ReadsStatements"/>).
    /// </summary>
    public ClientStatements Statements { get; init; } = ClientStatements.None;

    /// <summary>The weight in the merge. <value>Default: n_k.</value></summary>
    public double MergeWeight { get; init; } = Weight;

    /// <summary>The factor f_k of the client's update: the merge sees x + f_k d_k. <value>Default: 1.</value></summary>
    public double Factor { get; init; } = 1;
}
