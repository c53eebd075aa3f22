using FedICU.Compute;
using FedICU.Panels;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>
/// TIES' merge: of each client's update the largest entries stay; each element gets the sign of their weighted sum; the
/// entries of that sign are averaged.
/// </summary>
/// <remarks>
/// Yadav, Tam, Choshen, Raffel, Bansal: "TIES-Merging: Resolving Interference When Merging Models", NeurIPS 2023. Equal
/// magnitudes: the lower index stays. A sum of 0 is positive.
/// </remarks>
public sealed class Ties : MergeRule
{
    private readonly ModelTrim? _model;

    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Ties(TiesOptions? options = null)
    {
        Options = options ?? new TiesOptions();
        Options.Validate();
        _model = Options.TrimScope == TrimScope.Model && Options.Density < 1 ? new ModelTrim(Options.Density) : null;
    }

    /// <summary>Gets the options.</summary>
    public TiesOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "ties";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => _model?.Statistics ?? [];

    internal override string? OwnWeighting => MergeWeights.DescribeOwn(Options.Weighting);

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        double[] weights = MergeWeights.Get(tensor, Options.Weighting);
        SignElection election = Elections.Create(Options.Elect, Options.ElectWeights, Options.Disjoint, Options.Scale);
        tensor.ElectSigns(weights, election, FindCuts(tensor));
    }

    private MagnitudeCut[] FindCuts(TensorContext tensor)
    {
        long elements = tensor.Info.ElementCount, kept = MergeWeights.CountKept(Options.Density, elements);
        if (_model is not null)
            return _model.GetCuts(tensor);
        return kept == elements
            ? [.. tensor.Clients.Select(_ => MagnitudeCut.From(0))]
            : [.. tensor.SelectMagnitudes(lowerFirst: true, kept).Select(cuts => cuts[0])];
    }
}
