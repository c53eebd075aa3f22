using FedICU;

namespace MyFederation;

/// <summary>The coordinate-wise median: each output element is the median of the clients' elements, whatever they weigh.</summary>
public sealed class MedianAggregator : TensorAggregator, ITensorRule
{
    // the name in reports
    public override string Name => "median";

    // no state of the round, so the strategy is its own rule
    protected override ITensorRule Begin(ModelContext model) => this;

    // called for one tensor after the other; exactly one verb that writes the output
    public void Aggregate(TensorContext tensor) => tensor.ForEachElement(UpdateForm.Parameters, Median);

    // called from several threads; the values are this call's own and may be overwritten
    private static double Median(Span<double> values)
    {
        values.Sort();
        int middle = values.Length / 2;
        return values.Length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }
}
