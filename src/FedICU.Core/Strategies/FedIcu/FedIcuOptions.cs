using FedICU.Text;

namespace FedICU;

/// <summary>
/// Options of FedICU's server. docs/algorithms.md (FedICU: the server) sets every formula beside the code.
/// </summary>
/// <remarks>
/// <para>
/// Each tensor theta_k of client k is a matrix with columns c, N is the number of clients, and p_k the client's share
/// of the weights. With the default options:
/// </para>
/// <code>
/// M_k[c] = ||theta_k[:,c]||                                      magnitude
/// V_k[:,c] = theta_k[:,c] / M_k[c]                               direction
/// s_k = mean of cos(V_k, V_j) over the other clients j           score
/// w = softmax(s / tau)                                           divergence weights
/// M = sum_k M_k / N,  V = V_prev + sum_k w_k (V_k - V_prev)      consensus and alignment
/// theta[:,c] = M[c] V[:,c] / ||V[:,c]||                          new model
/// </code>
/// <para>
/// The mark of each default says where it is from: F is the paper's framework figure or abstract; R is the reviews of
/// the predecessor FedCDD or a third party's repair of the authors' code; O is our own choice. The name in parentheses
/// is that of <c>--set</c>.
/// </para>
/// </remarks>
public sealed record FedIcuOptions
{
    /// <summary>
    /// Gets the literal reading of the paper (<c>preset=paper</c>). It stays the same if the defaults change.
    /// </summary>
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
        BalanceLora = false,
    };

    /// <summary>
    /// Gets our variant, which is not the paper's (<c>preset=balanced</c>): the clients' updates are split, all
    /// directions weigh the same, and a column becomes x[:,c] + M[c] V[:,c] / sqrt(||V[:,c]||).
    /// </summary>
    /// <remarks>
    /// If all norms are equal, a column moves by the geometric mean of two lengths: what the clients moved it by, and
    /// what the mean of their updates would move it by. Use <see cref="FedIcuClientOptions.Balanced"/> at the clients.
    /// </remarks>
    public static FedIcuOptions Balanced { get; } = Paper with
    {
        Target = SplitTarget.Delta,
        Tau = double.PositiveInfinity,
        Coherence = 0.5,
        BalanceLora = true,
    };

    /// <summary>
    /// Gets the temperature tau of w = softmax(s / tau), greater than 0; infinity gives uniform weights (<c>tau</c>).
    /// <value>Default: 0.1 (R).</value>
    /// </summary>
    public double Tau { get; init; } = 0.1;

    /// <summary>
    /// Gets the largest norm that counts as 0, an absolute number, finite and at least 0 (<c>eps</c>).
    /// <value>Default: 1e-12 (O).</value>
    /// </summary>
    public double Epsilon { get; init; } = 1e-12;

    /// <summary>
    /// Gets what the magnitude M is the norm of (<c>axis</c>).
    /// <value>Default: <see cref="NormAxis.Columns"/> (F).</value>
    /// </summary>
    public NormAxis Axis { get; init; }

    /// <summary>
    /// Gets what a client's direction is compared with (<c>similarity</c>).
    /// <value>Default: <see cref="Similarity.Pairwise"/> (R).</value>
    /// </summary>
    public Similarity Similarity { get; init; }

    /// <summary>
    /// Gets whether each tensor has its own weights (<c>granularity</c>).
    /// <value>Default: <see cref="Granularity.Tensor"/> (O).</value>
    /// </summary>
    public Granularity Granularity { get; init; }

    /// <summary>
    /// Gets how similarities become weights (<c>weights</c>).
    /// <value>Default: <see cref="WeightRule.Softmax"/> (R).</value>
    /// </summary>
    public WeightRule Weights { get; init; }

    /// <summary>
    /// Gets whether the weights become w_k p_k / sum_j w_j p_j (<c>times-share</c>). <value>Default: false (O).</value>
    /// </summary>
    public bool TimesShare { get; init; }

    /// <summary>
    /// Gets whether the previous direction has a part: it is compared with, or the weights need not sum to one.
    /// </summary>
    internal bool PreviousEnters => Target == SplitTarget.Parameters
        && (Similarity == Similarity.PreviousDirection || Weights == WeightRule.Raw && !TimesShare);

    /// <summary>
    /// Gets how magnitudes are averaged (<c>consensus</c>).
    /// <value>Default: <see cref="ConsensusRule.Uniform"/> (F).</value>
    /// </summary>
    public ConsensusRule Consensus { get; init; }

    /// <summary>
    /// Gets whether parameters or updates are split (<c>target</c>).
    /// <value>Default: <see cref="SplitTarget.Parameters"/> (O).</value>
    /// </summary>
    public SplitTarget Target { get; init; }

    /// <summary>
    /// Gets how far the length of the combined direction counts, from 0 to 1 (<c>coherence</c>). The new column is
    /// M[c] ||V[:,c]||^coherence V[:,c] / ||V[:,c]||. <value>Default: 0 (F), the length is M[c] alone.</value>
    /// </summary>
    /// <remarks>
    /// With equal weights, ||V[:,c]|| is 1 if the clients agree, and 1 / sqrt(N) if their directions are at right
    /// angles.
    /// </remarks>
    public double Coherence { get; init; }

    /// <summary>
    /// Gets whether <see cref="FedIcuAggregator"/> balances LoRA pairs after the merge, as <see cref="LoraBalance"/>
    /// does (<c>balance</c>). <value>Default: false.</value>
    /// </summary>
    public bool BalanceLora { get; init; }

    /// <summary>
    /// Gets a function whose scores replace the similarities. <value>Default: null, the similarities are used.</value>
    /// </summary>
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
