using FedICU.Compute.Reference;

namespace FedICU.Compute;

// The verbs of robust rules: order statistics and pair distances.
public sealed unsafe partial class ReferenceBackend
{
    /// <inheritdoc/>
    public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
    {
        ScalarMath.CheckTrim(inputs.Length, trim);
        return MiddleValues.Write(inputs, trim, 0, length, output);
    }

    /// <inheritdoc/>
    public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums)
    {
        ScalarMath.CheckPairSums(inputs.Length, sums.Length);
        for (int k = 1; k < inputs.Length; k++)
        {
            for (int j = 0; j < k; j++)
            {
                var sum = new PreciseSum();
                for (int i = 0; i < length; i++)
                {
                    double difference = At(inputs[j], i) - At(inputs[k], i);
                    sum.AddProduct(difference, difference);
                }

                sums[GramPairs.Index(j, k - 1)] += sum.Value;
            }
        }
    }
}
