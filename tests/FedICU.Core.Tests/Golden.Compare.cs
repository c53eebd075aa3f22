namespace FedICU.Tests;

/// <content>Compares results with the expected ones.</content>
internal static partial class Golden
{
    /// <summary>Compares a result with the expected one, to one rounding of the result's types.</summary>
    /// <param name="found">The result.</param>
    /// <param name="expected">The expected result, of F64.</param>
    /// <param name="share">A further difference that is allowed, as a share of a tensor's largest magnitude.</param>
    public static void Compare(TensorSource found, TensorSource expected, double share = 0)
    {
        Assert.That(found.Tensors.Select(tensor => tensor.Name), Is.EquivalentTo(expected.Tensors.Select(tensor => tensor.Name)));
        foreach (TensorInfo tensor in found.Tensors)
        {
            if (!tensor.DType.IsComputed)
            {
                Assert.That(Models.Bytes(found, tensor.Name), Is.EqualTo(Models.Bytes(expected, tensor.Name)), tensor.Name);
                continue;
            }

            double[] values = Models.ToDoubles(found, tensor.Name), truth = Models.ToDoubles(expected, tensor.Name);
            double largest = truth.Max(Math.Abs);
            for (int i = 0; i < values.Length; i++)
            {
                double bound = tensor.DType switch
                {
                    DType.F64 => 64 * Math.ScaleB(1, -53) * largest,
                    DType.F32 => Half(truth[i], 24, -149),
                    DType.F16 => Half(truth[i], 11, -24),
                    _ => Half(truth[i], 8, -133),
                };
                // the expected value is a float64 too: its own last place is allowed on top of the rounding
                Assert.That(Math.Abs(values[i] - truth[i]), Is.LessThanOrEqualTo(bound + (64 * Math.ScaleB(1, -53) + share) * largest),
                    $"{tensor.Name}[{i}]");
            }
        }
    }

    /// <summary>
    /// Returns half a unit in the last place of a number of <paramref name="bits"/> significant bits.
    /// </summary>
    private static double Half(double value, int bits, int smallest) =>
        Math.Max(value == 0 ? 0 : Math.ScaleB(1, Math.ILogB(value) - bits), Math.ScaleB(1, smallest - 1));
}
