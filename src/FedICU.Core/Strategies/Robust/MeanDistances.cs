namespace FedICU.Strategies.Robust;

/// <summary>The distances of points to a mean of theirs, from the distances of all pairs.</summary>
internal static class MeanDistances
{
    /// <summary>
    /// Computes ||z - d_k|| of z = sum_j b_j d_j, where the b_j sum to one: ||z - d_k||^2 = sum_j b_j ||d_j - d_k||^2 -
    /// sum_{i &lt; j} b_i b_j ||d_i - d_j||^2.
    /// </summary>
    /// <param name="weights">b.</param>
    /// <param name="squaredDistance">Returns ||d_j - d_k||^2.</param>
    public static double[] Measure(double[] weights, Func<int, int, double> squaredDistance)
    {
        double[] squares = new double[weights.Length];
        double pairs = 0;
        for (int k = 0; k < weights.Length; k++)
        {
            for (int j = 0; j < weights.Length; j++)
                squares[k] += weights[j] * squaredDistance(j, k);
            pairs += weights[k] * squares[k] / 2;
        }

        // rounding may leave a little less than nothing of a point that is the mean
        return [.. squares.Select(square => Math.Sqrt(Math.Max(0, square - pairs)))];
    }
}
