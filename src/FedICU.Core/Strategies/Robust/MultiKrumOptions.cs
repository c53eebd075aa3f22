namespace FedICU;

/// <summary>Options of Multi-Krum.</summary>
public sealed record MultiKrumOptions
{
    /// <summary>
    /// Gets f, the number of hostile clients that the rule must bear, at least 0 (<c>byzantine</c>). The round needs 2f
    /// + 3 clients. <value>Default: null (<c>auto</c>), the most that N clients bear: floor((N - 3) / 2).</value>
    /// </summary>
    public int? Byzantine { get; init; }

    /// <summary>
    /// Gets the number of clients that are averaged, at least 1 (<c>select</c>). <value>Default: null (<c>auto</c>),
    /// max(1, N - f - 2).</value>
    /// </summary>
    public int? Select { get; init; }

    /// <summary>
    /// Gets how the chosen clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Uniform"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; } = Weighting.Uniform;

    internal void Validate()
    {
        var errors = new List<string>();
        if (Byzantine < 0)
            errors.Add($"byzantine is {Byzantine}; a whole number of at least 0, or auto, was expected.");
        if (Select < 1)
            errors.Add($"select is {Select}; a whole number of at least 1, or auto, was expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }
}
