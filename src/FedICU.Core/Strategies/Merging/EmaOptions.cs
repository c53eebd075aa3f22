using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of the exponential moving average.</summary>
public sealed record EmaOptions
{
    /// <summary>Gets the decay of the average, in [0, 1) (<c>decay</c>). <value>Default: 0.99.</value></summary>
    public double Decay { get; init; } = 0.99;

    /// <summary>
    /// Gets which model the round writes (<c>output</c>). <value>Default: <see cref="EmaOutput.Model"/>.</value>
    /// </summary>
    public EmaOutput Output { get; init; }

    internal void Validate() => new OptionErrors().RequireDecay("decay", Decay).Throw();
}
