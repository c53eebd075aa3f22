using FedICU.Strategies.Robust;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// The norm filter's weighting (CGE): the N - f clients whose updates have the smallest norms stay.
/// </summary>
/// <remarks>
/// Gupta, Vaidya: "Fault-Tolerance in Distributed Optimization: The Case of Redundancy", PODC 2020. Equal norms: the
/// client whose id comes first stays.
/// </remarks>
public sealed class NormFilter : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public NormFilter(NormFilterOptions? options = null)
    {
        Options = options ?? new NormFilterOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public NormFilterOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "norm-filter";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.SquaredNorms];

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ClientCounts.Require(plan, Name, Options.Byzantine, Options.Byzantine + 1L, "byzantine + 1");
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        double[] norms = UpdateNorms.Get(plan);
        plan.Report(this, "norm", norms);
        weights.Weigh(Options.Weighting);
        weights.Choose([.. Enumerable.Range(0, norms.Length).OrderBy(k => norms[k]).Take(norms.Length - Options.Byzantine)]);
    }
}
