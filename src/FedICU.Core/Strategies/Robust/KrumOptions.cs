namespace FedICU;

/// <summary>Options of Krum.</summary>
public sealed record KrumOptions
{
    /// <summary>
    /// Gets f, the number of hostile clients that the rule must bear, at least 0 (<c>byzantine</c>). The round needs 2f
    /// + 3 clients. <value>Default: null (<c>auto</c>), the most that N clients bear: floor((N - 3) / 2).</value>
    /// </summary>
    public int? Byzantine { get; init; }

    internal void Validate()
    {
        if (Byzantine < 0)
            throw new InvalidOptionsException([$"byzantine is {Byzantine}; a whole number of at least 0, or auto, was expected."]);
    }
}
