namespace FedICU;

/// <summary>Options of FedAvg.</summary>
public sealed record FedAvgOptions
{
    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). Uniform makes a model soup of the clients' models.
    /// <value>Default: <see cref="Weighting.Share"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; }
}
