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

    /// <inheritdoc/>
    public void AddDistances(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
        Span<double> products)
    {
        ScalarMath.CheckDistanceSums(inputs.Length, direction, squares.Length, products.Length);
        for (int k = 0; k < inputs.Length; k++)
        {
            PreciseSum square = new(), product = new();
            for (int i = 0; i < length; i++)
            {
                double o = origin.Data == null ? 0 : At(origin, i), difference = At(inputs[k], i) - o;
                square.AddProduct(difference, difference);
                if (direction.Data != null)
                    product.AddProduct(difference, At(direction, i) - o);
            }

            squares[k] += square.Value;
            if (direction.Data != null)
                products[k] += product.Value;
        }
    }
}
