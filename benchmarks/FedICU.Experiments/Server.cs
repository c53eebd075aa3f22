using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>What the experiments try at the server beside the library's aggregators.</summary>
internal static class Server
{
    /// <summary>x + step (y - x).</summary>
    public static Adapter Move(Adapter received, Adapter target, double step) =>
        new(received.Factors.ToDictionary(pair => pair.Key, pair => lerp(pair.Value, target.Factors[pair.Key], step)));

    /// <summary>An aggregator's step on the products B A, in float64.</summary>
    public static RoundReport OfProducts(IAggregator aggregator, Adapter received, IEnumerable<(ClientUpdate Update, Adapter Adapter)> clients, RoundOptions options, double step, out Adapter made)
    {
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, Tensor> before = Products(received);
        using var global = new StateDictModel(before);
        var round = new AggregationRound(global.Model, options);
        var held = new List<StateDictModel>();
        foreach ((ClientUpdate update, Adapter adapter) in clients)
        {
            held.Add(new StateDictModel(Products(adapter)));
            round.Add(ClientUpdate.FromTensors(update.Id, held[^1].Model, update.Weight));
        }

        var sink = new StateDictSink(before);
        RoundReport report = aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult().Report;
        held.ForEach(model => model.Dispose());
        using var products = new Adapter(sink.StateDict);
        made = Factors(before.ToDictionary(pair => pair.Key, pair => lerp(pair.Value, sink.StateDict[pair.Key], step)));
        return report;
    }

    /// <summary>For each entry the mean over some of the clients, by their weights; the received value where there is none of them.</summary>
    public static Adapter MeanOfSome(MeanOver whom, Adapter received, IReadOnlyList<(ClientUpdate Update, Adapter Adapter)> clients)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, Tensor x) in received.Factors)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor weights = tensor(clients.Select(client => client.Update.Weight!.Value).ToArray()).view([-1, .. x.shape.Select(_ => 1L)]);
            Tensor changes = stack(clients.Select(client => client.Adapter.Factors[name].to(float64) - x));
            Tensor signs = changes.sign(), sum = (changes * weights).sum(dim: 0);
            Tensor counted = weights * (whom == MeanOver.Senders ? signs.abs() : signs.eq(sum.sign().unsqueeze(0)).logical_and(signs.ne(0)).to(float64));
            Tensor total = counted.sum(dim: 0);
            factors[name] = (x + (changes * counted).sum(dim: 0) / (total + total.eq(0).to(float64))).to(float32).MoveToOuterDisposeScope();
        }

        return new Adapter(factors);
    }

    /// <summary>The factors that an update stands for, balanced where asked: a mean of one.</summary>
    public static Adapter MeanOfOne(ClientUpdate update, Adapter like, TensorSource global, bool balance)
    {
        var sink = new StateDictSink(like.Factors);
        new FedAvgAggregator().AggregateAsync(new AggregationRound(global, new RoundOptions { BalanceLora = balance }) { update }, sink).GetAwaiter().GetResult();
        return new Adapter(sink.StateDict);
    }

    private static Dictionary<string, Tensor> Products(Adapter adapter) => Transformer.Matrices.ToDictionary(
        matrix => matrix.Name, matrix => adapter.Factors[Adapter.B(matrix.Name)].to(float64).mm(adapter.Factors[Adapter.A(matrix.Name)].to(float64)));

    /// <summary>The nearest factors of the rank; they share the singular values.</summary>
    private static Adapter Factors(Dictionary<string, Tensor> products)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, Tensor product) in products)
        {
            (Tensor left, Tensor values, Tensor right) = linalg.svd(product, fullMatrices: false);
            Tensor roots = values.narrow(0, 0, Adapter.Rank).sqrt();
            factors[Adapter.B(name)] = (left.narrow(1, 0, Adapter.Rank) * roots).to(float32).contiguous().MoveToOuterDisposeScope();
            factors[Adapter.A(name)] = (right.narrow(0, 0, Adapter.Rank) * roots.unsqueeze(1)).to(float32).contiguous().MoveToOuterDisposeScope();
        }

        return new Adapter(factors);
    }
}
