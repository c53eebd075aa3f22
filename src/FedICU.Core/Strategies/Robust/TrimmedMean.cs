using FedICU.Text;

namespace FedICU;

/// <summary>
/// The coordinate-wise trimmed mean: of each element the g smallest and the g largest of the clients' values are
/// dropped, and the rest is averaged. Weights do not count.
/// </summary>
/// <remarks>
/// Yin, Chen, Kannan, Bartlett: "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018.
/// </remarks>
public sealed class TrimmedMean : MergeRule
{
    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public TrimmedMean(TrimmedMeanOptions? options = null)
    {
        Options = options ?? new TrimmedMeanOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public TrimmedMeanOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "trimmed-mean";

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        int clients = plan.Clients.Count, trim = CountTrimmed(clients);
        if (2L * trim >= clients)
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(Name)} drops {trim} values at each end, and {Sentence.Count(clients, "client")} of a weight above 0 " +
                $"{Sentence.Form(clients, "takes", "take")} part; at least one value must be left.");
        }
    }

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        tensor.MiddleMean(CountTrimmed(tensor.Clients.Count));
    }

    private int CountTrimmed(int clients) => Options.TrimCount ?? (int)Math.Floor(Options.Beta * clients + 1e-9);
}
