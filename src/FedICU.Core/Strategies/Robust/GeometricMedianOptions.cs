using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of the geometric median.</summary>
public sealed record GeometricMedianOptions
{
    /// <summary>
    /// Gets nu, the smallest distance that a weight is divided by, greater than 0 (<c>nu</c>). <value>Default:
    /// 1e-5.</value>
    /// </summary>
    public double Nu { get; init; } = 1e-5;

    /// <summary>Gets the most iterations, at least 1 (<c>iterations</c>). <value>Default: 4.</value></summary>
    public int Iterations { get; init; } = 4;

    /// <summary>
    /// Gets the relative change of the objective below which the iteration ends, at least 0 (<c>tolerance</c>).
    /// <value>Default: 1e-6.</value>
    /// </summary>
    public double Tolerance { get; init; } = 1e-6;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Share"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; }

    internal void Validate() => new OptionErrors()
        .RequirePositive("nu", Nu).Require("iterations", Iterations, Iterations >= 1, "a whole number of at least 1")
        .RequireNotNegative("tolerance", Tolerance).Throw();
}
