using FedICU.Compute;
using FedICU.Strategies.Robust;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// DP-FedAvg's weighting: updates are clipped to the norm C and divided by a fixed number of clients m. The step
/// <see cref="DpNoise"/> follows it: x = x + eta (sum_k d_k min(1, C / ||d_k||) / m + (z C / m) g), g ~ N(0, 1).
/// </summary>
/// <remarks>
/// McMahan, Ramage, Talwar, Zhang: "Learning Differentially Private Recurrent Language Models", ICLR 2018; adaptive
/// clipping: Andrew, Thakkar, McMahan, Ramaswamy, NeurIPS 2021. Weights do not count. The report states nothing of a
/// single client.
/// </remarks>
public sealed class DpFedAvg : ClientWeighting
{
    internal const string Clip = "clip", Noise = "dp-fedavg.noise", Seed = "dp-fedavg.seed";

    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public DpFedAvg(DpFedAvgOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        Options = options;
        Scalars = options.AdaptiveClip ? [new StateScalar(Clip, options.InitialClip)] : [];
    }

    /// <summary>Gets the options.</summary>
    public DpFedAvgOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "dp-fedavg";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.SquaredNorms];

    /// <inheritdoc/>
    public override IReadOnlyList<StateScalar> Scalars { get; }

    /// <inheritdoc/>
    public override bool CountsRounds => true;

    internal override bool KeepsIntegers => true;

    internal override bool IsPrivate => true;

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        GetNoise(plan);
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        double clip = Options.AdaptiveClip ? plan.GetScalar(Clip) : Options.InitialClip;
        (double expected, double deviation, double multiplier) = GetNoise(plan);
        double[] norms = UpdateNorms.Get(plan);
        for (int k = 0; k < norms.Length; k++)
        {
            weights.Weights[k] = 1;
            weights.Factors[k] *= Options.ServerLearningRate * UpdateNorms.Clip(norms[k], clip) * norms.Length / expected;
        }

        double noise = RequireFinite("the standard deviation of its noise", Options.ServerLearningRate * (multiplier * clip / expected));
        long seed = Options.Seed ?? BitConverter.ToInt64(System.Security.Cryptography.RandomNumberGenerator.GetBytes(sizeof(long)));
        plan.Keep(Noise, noise);
        plan.Keep(Seed, BitConverter.Int64BitsToDouble(seed));
        if (Options.AdaptiveClip)
        {
            double next = Follow(norms, clip, expected, deviation, seed, plan.RoundsFinished);
            plan.SetScalar(Clip, RequireFinite("the next round's norm", next, above: 0));
        }

        bool drawsNoise = multiplier > 0 || Options.AdaptiveClip && deviation > 0;
        if (drawsNoise && Options.Seed is not null && !plan.HasState)
        {
            plan.Note(
                "dp-fedavg has a fixed seed and no state: every round repeats the same noise. " +
                "Give the rounds a state, or leave out the seed.");
        }

        Describe(plan, clip);
    }

    private double RequireFinite(string name, double value, double above = double.NegativeInfinity) =>
        value > above && double.IsFinite(value)
            ? value
            : throw RoundPlan.Refuse(
                $"{Sentence.Quote(Name)}: {name} is {Numbers.Invariant(value)}; a finite number " +
                $"{(above == 0 ? "above 0 " : "")}was expected.");

    private double Follow(double[] norms, double clip, double expected, double deviation, long seed, long round)
    {
        double count = 0;
        foreach (double norm in norms)
            count += (norm <= clip ? 1 : 0) - 0.5;
        double noise = deviation == 0 ? 0 : deviation * new GaussianNoise(seed, "", "dp-count", round)[0];
        double unclipped = Math.Clamp(0.5 + (count + noise) / expected, 0, 1);
        return clip * Math.Exp(-Options.ClipLearningRate * (unclipped - Options.Quantile));
    }

    /// <summary>Returns m, the deviation of the count's noise, and the multiplier of the values' noise.</summary>
    private (double Expected, double Deviation, double Multiplier) GetNoise(RoundPlan plan)
    {
        double expected = Options.ExpectedClients ?? plan.Clients.Count, multiplier = Options.NoiseMultiplier;
        double deviation = Options.CountStandardDeviation ?? (multiplier == 0 ? 0 : expected / 20);
        if (!Options.AdaptiveClip || multiplier == 0)
            return (expected, deviation, multiplier);
        if (multiplier >= 2 * deviation)
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(Name)} has the noise-multiplier {Numbers.Invariant(multiplier)} and the count-stddev " +
                $"{Numbers.Invariant(deviation)}; a noise-multiplier below twice count-stddev was expected.");
        }

        return (expected, deviation, 1 / Math.Sqrt(1 / (multiplier * multiplier) - 1 / (4 * deviation * deviation)));
    }

    private void Describe(RoundPlan plan, double clip)
    {
        plan.Note($"dp-fedavg clipped updates to the norm {Numbers.Invariant(clip)}.");
        if (Options.NoiseMultiplier == 0)
            plan.Note("dp-fedavg adds no noise (noise-multiplier 0): the round gives no privacy.");
        if (Options.ExpectedClients is null)
            plan.Note("dp-fedavg divides by the clients that came; its guarantee wants expected-clients fixed beforehand.");
        if (Options is { SamplingRate: { } rate, Delta: { } delta, NoiseMultiplier: > 0 })
        {
            (double epsilon, _) = PrivacyAccountant.ComputeEpsilon(rate, Options.NoiseMultiplier, plan.RoundsFinished + 1, delta);
            plan.Note($"dp-fedavg: epsilon is {Numbers.Invariant(epsilon)} at delta {Numbers.Invariant(delta)} " +
                $"after {Sentence.Count(plan.RoundsFinished + 1, "round")}.");
        }
    }
}
