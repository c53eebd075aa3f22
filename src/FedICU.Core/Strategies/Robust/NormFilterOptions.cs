namespace FedICU;

/// <summary>Options of the norm filter.</summary>
public sealed record NormFilterOptions
{
    /// <summary>
    /// Gets f, the number of clients of the largest norms that are left out, at least 0 (<c>byzantine</c>).
    /// <value>Default: 1.</value>
    /// </summary>
    public int Byzantine { get; init; } = 1;

    /// <summary>
    /// Gets how the remaining clients weigh (<c>weighting</c>). <value>Default:
    /// <see cref="Weighting.Uniform"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; } = Weighting.Uniform;

    internal void Validate()
    {
        if (Byzantine < 0)
            throw new InvalidOptionsException([$"byzantine is {Byzantine}; a whole number of at least 0 was expected."]);
    }
}
