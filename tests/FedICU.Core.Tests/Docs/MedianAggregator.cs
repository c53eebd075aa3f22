using FedICU;

namespace MyFederation;

/// <summary>
/// The coordinate-wise median: each output element is the median of the clients' elements. Weights do not count.
/// </summary>
public sealed class MedianAggregator() : StageAggregator(new MedianMerge());

/// <summary>The median's merge.</summary>
public sealed class MedianMerge : MergeRule
{
    // the name that reports show
    public override string Name => "my-median";

    // called for several tensors at once; calls exactly one verb, which writes the output
    public override void Merge(TensorContext tensor) => tensor.ForEachElement(UpdateForm.Parameters, Median);

    // called from several threads; the values belong to this call and may be overwritten
    private static double Median(Span<double> values)
    {
        values.Sort();
        int middle = values.Length / 2;
        return values.Length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }
}
