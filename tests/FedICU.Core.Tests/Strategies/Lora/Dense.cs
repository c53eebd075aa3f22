namespace FedICU.Tests;

/// <summary>Dense products of small LoRA factors, computed plainly.</summary>
internal static class Dense
{
    /// <summary>Computes s B A, row by row.</summary>
    public static double[] Product(double[] a, double[] b, int rank, double scaling)
    {
        int inputs = a.Length / rank, outputs = b.Length / rank;
        double[] product = new double[outputs * inputs];
        for (int i = 0; i < outputs; i++)
        {
            for (int j = 0; j < inputs; j++)
            {
                for (int r = 0; r < rank; r++)
                    product[i * inputs + j] += scaling * b[i * rank + r] * a[r * inputs + j];
            }
        }

        return product;
    }

    /// <summary>Computes the clients' mean product by their examples.</summary>
    public static double[] Mean(IReadOnlyList<LoraClient> clients)
    {
        double total = clients.Sum(client => client.Examples);
        double[]? mean = null;
        foreach (LoraClient client in clients)
        {
            double[] product = Product(client.A, client.B, client.Rank, client.Scaling * client.Examples / total);
            mean = mean is null ? product : [.. mean.Zip(product, (one, two) => one + two)];
        }

        return mean!;
    }

    public static double Norm(IEnumerable<double> values) => Math.Sqrt(values.Sum(value => value * value));

    public static double Distance(double[] one, double[] two) => Norm(one.Zip(two, (x, y) => x - y));
}
