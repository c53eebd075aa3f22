namespace FedICU;

/// <summary>Options of Bulyan.</summary>
public sealed record BulyanOptions
{
    /// <summary>
    /// Gets f, the number of hostile clients that the rule must bear, at least 0 (<c>byzantine</c>). The round needs 4f
    /// + 3 clients. <value>Default: null (<c>auto</c>), the most that N clients bear: floor((N - 3) / 4).</value>
    /// </summary>
    public int? Byzantine { get; init; }

    /// <summary>
    /// Gets how the N - 2f clients are selected (<c>selection</c>). <value>Default:
    /// <see cref="BulyanSelectionRule.Iterative"/>.</value>
    /// </summary>
    public BulyanSelectionRule Selection { get; init; }

    internal void Validate()
    {
        if (Byzantine < 0)
            throw new InvalidOptionsException([$"byzantine is {Byzantine}; a whole number of at least 0, or auto, was expected."]);
    }

    /// <summary>Returns f.</summary>
    internal int GetByzantine(int clients) => Byzantine ?? (clients - 3) / 4;
}
