using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of norm clipping.</summary>
public sealed record NormClipOptions
{
    /// <summary>
    /// Gets C, the largest norm that an update keeps, greater than 0 (<c>clip-norm</c>). <value>Default: null
    /// (<c>median</c>), the median of the clients' norms.</value>
    /// </summary>
    public double? ClipNorm { get; init; }

    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Share"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; }

    internal void Validate() => new OptionErrors()
        .Require("clip-norm", ClipNorm ?? 1, ClipNorm is null or (> 0 and < double.PositiveInfinity), "a finite number above 0, or median,")
        .RequirePositive("server-lr", ServerLearningRate).Throw();
}
