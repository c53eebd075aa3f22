using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>What the experiments try at the server beside the library's aggregators.</summary>
internal static class Server
{
    /// <summary>How far a method's server goes.</summary>
    public static double Step(Method method, Adapter received, Adapter target, RoundReport report)
    {
        using DisposeScope scope = NewDisposeScope();
        double aggregate = Square(received, target);
        if (method.StepRule == StepRule.Fixed || aggregate == 0)
            return method.Step;
        // of what the server has: masked updates are shorter than what was trained
        double[] squares = [.. report.Tensors.SelectMany(tensor => tensor.Clients).GroupBy(client => client.Id).Select(client => client.Sum(part => Math.Pow(part.UpdateNorm ?? 0, 2)))];
        return method.StepRule == StepRule.FedExP ? Math.Max(1, squares.Average() / (2 * aggregate)) : Math.Sqrt(squares.Average(Math.Sqrt) / Math.Sqrt(aggregate));
    }

    /// <summary>x + step (y - x).</summary>
    public static Adapter Move(Adapter received, Adapter target, double step)
    {
        using IDisposable noGradients = no_grad();
        return step == 1 ? target.Clone() : new Adapter(received.Factors.ToDictionary(pair => pair.Key, pair => lerp(pair.Value, target.Factors[pair.Key], step)));
    }

    /// <summary>Factors of the weighted mean of the products B A, cut to the rank by its singular values, which both factors share.</summary>
    public static Adapter MeanOfProducts(IReadOnlyList<(Adapter Adapter, double Share)> clients)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, _, _) in Transformer.Matrices)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor mean = clients.Select(client => client.Adapter.Factors[Adapter.B(name)].to(float64).mm(client.Adapter.Factors[Adapter.A(name)].to(float64)) * client.Share).Aggregate((sum, product) => sum + product);
            (Tensor left, Tensor values, Tensor right) = linalg.svd(mean, fullMatrices: false);
            Tensor roots = values.narrow(0, 0, Adapter.Rank).sqrt();
            factors[Adapter.B(name)] = (left.narrow(1, 0, Adapter.Rank) * roots).to(float32).contiguous().MoveToOuterDisposeScope();
            factors[Adapter.A(name)] = (right.narrow(0, 0, Adapter.Rank) * roots.unsqueeze(1)).to(float32).contiguous().MoveToOuterDisposeScope();
        }

        return new Adapter(factors);
    }

    private static double Square(Adapter from, Adapter to) =>
        from.Factors.Sum(pair => (to.Factors[pair.Key] - pair.Value).to(float64).square().sum().item<double>());
}
