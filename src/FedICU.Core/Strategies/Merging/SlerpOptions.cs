using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of spherical interpolation.</summary>
public sealed record SlerpOptions
{
    /// <summary>
    /// Gets t, the way from the first client to the second, in [0, 1] (<c>t</c>); null (<c>share</c>): the second
    /// client's share of the weights. <value>Default: 0.5.</value>
    /// </summary>
    public double? T { get; init; } = 0.5;

    /// <summary>
    /// Gets the magnitude of the cosine above which tensors are interpolated on the line, in [0, 1]
    /// (<c>lerp-above</c>). <value>Default: 0.9995.</value>
    /// </summary>
    public double LerpAbove { get; init; } = 0.9995;

    /// <summary>
    /// Gets whether parameters or updates are interpolated (<c>target</c>). <value>Default:
    /// <see cref="UpdateForm.Parameters"/>.</value>
    /// </summary>
    public UpdateForm Target { get; init; }

    internal void Validate() => new OptionErrors()
        .Require("t", T ?? 0, T is null or (>= 0 and <= 1), "a number from 0 to 1, or share,")
        .Require("lerp-above", LerpAbove, LerpAbove is >= 0 and <= 1, "a number from 0 to 1")
        .Throw();
}
