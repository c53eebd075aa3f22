using FedICU.Text;

namespace FedICU;

/// <summary>
/// Options of FedICU's server (docs/algorithms.md, FedICU: the server). Defaults are the literal reading of the paper's framework figure where it says anything, and
/// documented choices of ours elsewhere; docs/algorithms.md tells which is which.
/// </summary>
public sealed record FedIcuOptions
{
    /// <summary>The literal reading of the paper, whatever the defaults are or become (<c>preset=paper</c>).</summary>
    public static FedIcuOptions Paper { get; } = new()
    {
        Tau = 0.1,
        Epsilon = 1e-12,
        Axis = NormAxis.Columns,
        Similarity = Similarity.Pairwise,
        Granularity = Granularity.Tensor,
        Weights = WeightRule.Softmax,
        TimesShare = false,
        Consensus = ConsensusRule.Uniform,
        Target = SplitTarget.Parameters,
        Coherence = 0,
    };

    /// <summary>
    /// Ours, not the paper's (<c>preset=balanced</c>, which sets <see cref="RoundOptions.BalanceLora"/> as well; with <see cref="FedIcuClientOptions.Balanced"/> at the clients): what clients
    /// changed is split, all directions weigh the same, and a column becomes x[:,c] + M[c] V[:,c] / sqrt(||V[:,c]||): where norms are equal, it moves by the geometric mean of what clients moved it by and what their mean would move it by.
    /// </summary>
    public static FedIcuOptions Balanced { get; } = Paper with { Target = SplitTarget.Delta, Tau = double.PositiveInfinity, Coherence = 0.5 };

    /// <summary>The softmax's temperature, greater than 0, infinity for uniform weights (<c>tau</c>). <value>Default: 0.1.</value></summary>
    public double Tau { get; init; } = 0.1;

    /// <summary>Norms up to this are zero (<c>eps</c>). <value>Default: 1e-12.</value></summary>
    public double Epsilon { get; init; } = 1e-12;

    /// <summary>What a magnitude is the norm of (<c>axis</c>). <value>Default: <see cref="NormAxis.Columns"/>.</value></summary>
    public NormAxis Axis { get; init; }

    /// <summary>What directions are compared with (<c>similarity</c>). <value>Default: <see cref="Similarity.Pairwise"/>.</value></summary>
    public Similarity Similarity { get; init; }

    /// <summary>Whether each tensor has weights of its own (<c>granularity</c>). <value>Default: <see cref="Granularity.Tensor"/>.</value></summary>
    public Granularity Granularity { get; init; }

    /// <summary>How similarities become weights (<c>weights</c>). <value>Default: <see cref="WeightRule.Softmax"/>.</value></summary>
    public WeightRule Weights { get; init; }

    /// <summary>Whether the weights are multiplied by the clients' shares and renormalised (<c>times-share</c>). <value>Default: false.</value></summary>
    public bool TimesShare { get; init; }

    /// <summary>Whether the previous direction has a part of its own: as the measure of similarity, or as weights do not sum to one.</summary>
    internal bool PreviousEnters => Target == SplitTarget.Parameters && (Similarity == Similarity.PreviousDirection || Weights == WeightRule.Raw && !TimesShare);

    /// <summary>How magnitudes are averaged (<c>consensus</c>). <value>Default: <see cref="ConsensusRule.Uniform"/>.</value></summary>
    public ConsensusRule Consensus { get; init; }

    /// <summary>What is split (<c>target</c>). <value>Default: <see cref="SplitTarget.Parameters"/>.</value></summary>
    public SplitTarget Target { get; init; }

    /// <summary>
    /// How much of the combined direction's length counts, from 0 to 1 (<c>coherence</c>): theta[:,c] = M[c] ||V[:,c]||^coherence (V[:,c] / ||V[:,c]||). With equal
    /// weights ||V[:,c]|| is 1 where clients agree and 1 / sqrt(N) where they are at right angles. <value>Default: 0, length is M alone.</value>
    /// </summary>
    public double Coherence { get; init; }

    /// <summary>Scores in place of the similarities. <value>Default: null, the similarities.</value></summary>
    public ContributionScore? Scores { get; init; }

    internal void Validate()
    {
        var errors = new List<string>();
        if (!(Tau > 0))
            errors.Add($"tau is {Numbers.Invariant(Tau)}; a number greater than 0, or inf, was expected.");
        if (!(Epsilon >= 0 && double.IsFinite(Epsilon)))
            errors.Add($"eps is {Numbers.Invariant(Epsilon)}; a finite number of at least 0 was expected.");
        if (!(Coherence is >= 0 and <= 1))
            errors.Add($"coherence is {Numbers.Invariant(Coherence)}; a number from 0 to 1 was expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }
}
