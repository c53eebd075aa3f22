using FedICU;

namespace MyFederation;

/// <summary>
/// The coordinate-wise median: each output element is the median of the clients' elements. Weights do not count.
/// </summary>
public sealed class MedianAggregator : TensorAggregator, ITensorRule
{
    // the name that reports show
    public override string Name => "median";

    // the rule keeps no state of a round, so the strategy itself is the rule
    protected override ITensorRule Begin(ModelContext model) => this;

    // called for one tensor after the other; calls exactly one verb, which writes the output
    public void Aggregate(TensorContext tensor) => tensor.ForEachElement(UpdateForm.Parameters, Median);

    // called from several threads; the values belong to this call and may be overwritten
    private static double Median(Span<double> values)
    {
        values.Sort();
        int middle = values.Length / 2;
        return values.Length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }
}
