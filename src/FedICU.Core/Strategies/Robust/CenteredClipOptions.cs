using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of centered clipping.</summary>
public sealed record CenteredClipOptions
{
    /// <summary>
    /// Gets r, the largest distance to the center that an update keeps, greater than 0 (<c>radius</c>). <value>Default:
    /// 10.</value>
    /// </summary>
    public double Radius { get; init; } = 10;

    /// <summary>Gets the number of iterations, at least 1 (<c>iterations</c>). <value>Default: 1.</value></summary>
    public int Iterations { get; init; } = 1;

    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Uniform"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; } = Weighting.Uniform;

    internal void Validate() => new OptionErrors()
        .RequirePositive("radius", Radius).Require("iterations", Iterations, Iterations >= 1, "a whole number of at least 1")
        .RequirePositive("server-lr", ServerLearningRate).Throw();
}
