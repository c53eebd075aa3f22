using FedICU.Strategies.Robust;

namespace FedICU;

/// <summary>
/// Norm clipping's weighting: an update whose norm is above C is shortened to C, d_k min(1, C / ||d_k||).
/// </summary>
/// <remarks>
/// Sun, Kairouz, Suresh, McMahan: "Can You Really Backdoor Federated Learning?", 2019. By default C is the median of
/// the norms.
/// </remarks>
public sealed class NormClip : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public NormClip(NormClipOptions? options = null)
    {
        Options = options ?? new NormClipOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public NormClipOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "norm-clip";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.SquaredNorms];

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        double[] norms = UpdateNorms.Get(plan);
        double most = Options.ClipNorm ?? UpdateNorms.Median(norms);
        double[] factors = [.. norms.Select(norm => UpdateNorms.Clip(norm, most))];
        for (int k = 0; k < factors.Length; k++)
            weights.Factors[k] *= Options.ServerLearningRate * factors[k];
        weights.Weigh(Options.Weighting);
        plan.Report(this, "norm", norms);
        plan.Report(this, "factor", factors);
    }
}
