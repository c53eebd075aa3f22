namespace FedICU.Tests.Rounds;

/// <summary>The cross-term of a LoRA pair, computed from the dense products.</summary>
internal static class DenseCrossTerm
{
    /// <summary>Computes ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)||.</summary>
    /// <param name="a">Each client's A, [rank, inputs].</param>
    /// <param name="b">Each client's B, [outputs, rank].</param>
    /// <param name="rank">The rank.</param>
    /// <param name="weights">Each client's weight.</param>
    public static double Compute(double[][] a, double[][] b, int rank, double[] weights)
    {
        int inputs = a[0].Length / rank, outputs = b[0].Length / rank;
        double difference = 0, whole = 0;
        for (int o = 0; o < outputs; o++)
        {
            for (int i = 0; i < inputs; i++)
            {
                double meanOfProducts = 0, productOfMeans = 0;
                for (int r = 0; r < rank; r++)
                {
                    double meanA = 0, meanB = 0;
                    for (int k = 0; k < weights.Length; k++)
                    {
                        double share = weights[k] / weights.Sum(), x = a[k][r * inputs + i], y = b[k][o * rank + r];
                        (meanA, meanB, meanOfProducts) = (meanA + share * x, meanB + share * y, meanOfProducts + share * x * y);
                    }

                    productOfMeans += meanA * meanB;
                }

                difference += (meanOfProducts - productOfMeans) * (meanOfProducts - productOfMeans);
                whole += meanOfProducts * meanOfProducts;
            }
        }

        return Math.Sqrt(difference / whole);
    }
}
