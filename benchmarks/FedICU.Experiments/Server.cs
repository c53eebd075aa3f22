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

    /// <summary>Factors of the products as a rule combines them, cut to the rank by the singular values, which both factors share.</summary>
    public static Adapter OfProducts(ProductRule rule, Adapter received, IReadOnlyList<(Adapter Adapter, double Share)> clients)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, _, _) in Transformer.Matrices)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor[] products = [.. clients.Select(client => Product(client.Adapter, name))];
            Tensor made = rule == ProductRule.Mean ? products.Zip(clients, (product, client) => product * client.Share).Aggregate((sum, part) => sum + part) : Split(Product(received, name), products);
            (Tensor left, Tensor values, Tensor right) = linalg.svd(made, fullMatrices: false);
            Tensor roots = values.narrow(0, 0, Adapter.Rank).sqrt();
            factors[Adapter.B(name)] = (left.narrow(1, 0, Adapter.Rank) * roots).to(float32).contiguous().MoveToOuterDisposeScope();
            factors[Adapter.A(name)] = (right.narrow(0, 0, Adapter.Rank) * roots.unsqueeze(1)).to(float32).contiguous().MoveToOuterDisposeScope();
        }

        return new Adapter(factors);

        static Tensor Product(Adapter adapter, string name) => adapter.Factors[Adapter.B(name)].to(float64).mm(adapter.Factors[Adapter.A(name)].to(float64));
    }

    /// <summary>x + M V / sqrt(norm(V)) by columns, of M the mean of what clients changed by norm and V the mean of it by direction.</summary>
    private static Tensor Split(Tensor received, Tensor[] products)
    {
        Tensor changes = stack(products) - received, norms = linalg.vector_norm(changes, dims: [1], keepdim: true);
        Tensor direction = (changes / norms.clamp_min(1e-12)).mean([0]);
        return received + norms.mean([0]) * direction / linalg.vector_norm(direction, dims: [0], keepdim: true).clamp_min(1e-12).sqrt();
    }

    private static double Square(Adapter from, Adapter to) =>
        from.Factors.Sum(pair => (to.Factors[pair.Key] - pair.Value).to(float64).square().sum().item<double>());
}
