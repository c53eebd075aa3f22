using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU;

/// <summary>Options of DP-FedAvg.</summary>
public sealed record DpFedAvgOptions
{
    /// <summary>
    /// Gets C, the largest norm that an update keeps, greater than 0 (<c>clip-norm</c>). <value>Default: null; required
    /// unless <see cref="AdaptiveClip"/>, which begins with 0.1.</value>
    /// </summary>
    public double? ClipNorm { get; init; }

    /// <summary>
    /// Gets z, the standard deviation of the noise over C, at least 0 (<c>noise-multiplier</c>). Required; 0 adds no
    /// noise and gives no privacy.
    /// </summary>
    public required double NoiseMultiplier { get; init; }

    /// <summary>
    /// Gets m, the number of clients by which sums are divided, greater than 0 (<c>expected-clients</c>). The guarantee
    /// wants it fixed beforehand. <value>Default: null, the clients that came, with a note.</value>
    /// </summary>
    public double? ExpectedClients { get; init; }

    /// <summary>
    /// Gets the seed of the noise (<c>seed</c>). Who knows it can subtract the noise. <value>Default: null, from the
    /// operating system, never written down.</value>
    /// </summary>
    public long? Seed { get; init; }

    /// <summary>
    /// Gets whether C follows a quantile of the clients' norms (<c>adaptive-clip</c>). <value>Default: false.</value>
    /// </summary>
    public bool AdaptiveClip { get; init; }

    /// <summary>
    /// Gets the share of clients that C leaves unclipped, in [0, 1] (<c>quantile</c>). <value>Default: 0.5.</value>
    /// </summary>
    public double Quantile { get; init; } = 0.5;

    /// <summary>
    /// Gets how fast C follows, greater than 0 (<c>clip-lr</c>). <value>Default: 0.2.</value>
    /// </summary>
    public double ClipLearningRate { get; init; } = 0.2;

    /// <summary>
    /// Gets the standard deviation of the noise on the number of unclipped clients (<c>count-stddev</c>).
    /// <value>Default: null, m / 20; without noise 0.</value>
    /// </summary>
    public double? CountStandardDeviation { get; init; }

    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    /// <summary>
    /// Gets the probability with which a client takes part in a round, in (0, 1] (<c>sampling-rate</c>). With
    /// <see cref="Delta"/>, the report states epsilon. <value>Default: null.</value>
    /// </summary>
    public double? SamplingRate { get; init; }

    /// <summary>Gets delta of the guarantee, in (0, 1) (<c>delta</c>). <value>Default: null.</value></summary>
    public double? Delta { get; init; }

    /// <summary>Returns C of the first round.</summary>
    internal double InitialClip => ClipNorm ?? 0.1;

    internal void Validate() => FindErrors().Throw();

    internal OptionErrors FindErrors()
    {
        var errors = new OptionErrors();
        if (!AdaptiveClip && ClipNorm is null)
            errors.Add("clip-norm is missing; a finite number above 0 was expected.");
        errors.RequireNotNegative("noise-multiplier", NoiseMultiplier).RequirePositive("clip-norm", ClipNorm ?? 1)
            .RequirePositive("expected-clients", ExpectedClients ?? 1).RequirePositive("server-lr", ServerLearningRate)
            .Require("quantile", Quantile, Quantile is >= 0 and <= 1, "a number from 0 to 1").RequirePositive("clip-lr", ClipLearningRate)
            .RequireNotNegative("count-stddev", CountStandardDeviation ?? 0)
            .Require("sampling-rate", SamplingRate ?? 1, SamplingRate is null or (> 0 and <= 1), "a number above 0 and at most 1")
            .Require("delta", Delta ?? 0.5, Delta is null or (> 0 and < 1), "a number above 0 and below 1")
            .RefuseUnused("count-stddev", CountStandardDeviation is not null && !AdaptiveClip, "without adaptive-clip=true")
            .RefuseUnused("sampling-rate", SamplingRate is not null && Delta is null, "without delta")
            .RefuseUnused("delta", Delta is not null && SamplingRate is null, "without sampling-rate");
        if (AdaptiveClip && NoiseMultiplier > 0 && CountStandardDeviation is { } deviation && NoiseMultiplier >= 2 * deviation)
        {
            errors.Add(
                $"noise-multiplier is {Numbers.Invariant(NoiseMultiplier)} and count-stddev {Numbers.Invariant(deviation)}; " +
                "a noise-multiplier below twice count-stddev was expected.");
        }

        return errors;
    }
}
