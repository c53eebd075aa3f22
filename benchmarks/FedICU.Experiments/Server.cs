using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>What the experiments try at the server beside the library's aggregators.</summary>
internal static class Server
{
    /// <summary>From the clients' updates to the next factors.</summary>
    /// <param name="method">What is done beside and after the aggregator's step.</param>
    /// <param name="aggregator">The library's.</param>
    /// <param name="received">The factors that the clients had.</param>
    /// <param name="global">The same, as the updates refer to them.</param>
    /// <param name="updates">The clients'.</param>
    /// <param name="options">The round's.</param>
    /// <param name="next">The caller's to dispose of.</param>
    /// <param name="cancellationToken">Ends the aggregator's step.</param>
    /// <exception cref="DivergedException">The result does not fit the factors' type.</exception>
    public static RoundReport Round(
        Method method, IAggregator aggregator, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates, RoundOptions options, out Adapter next, CancellationToken cancellationToken)
    {
        if (method.Product)
            return OfProducts(aggregator, received, global, updates, options, method.Step, out next, cancellationToken);
        using Adapter mean = Aggregate(aggregator, received, global, updates, options, out RoundReport report, cancellationToken);
        using Adapter? ofSome = method.MeanOver == MeanOver.All ? null : MeanOfSome(method.MeanOver, received, global, updates);
        next = Move(received, ofSome ?? mean, method.Step);
        if (method.Balanced)
        {
            using Adapter moved = next;
            next = Balance(moved);
        }

        return report;
    }

    /// <summary>Factors of the same products, which they share evenly.</summary>
    /// <exception cref="DivergedException">They do not fit the factors' type.</exception>
    public static Adapter Balance(Adapter adapter)
    {
        using var model = new StateDictModel(adapter.Factors);
        return Aggregate(new FedAvgAggregator(), adapter, model.Model, [ClientUpdate.FromTensors("server", model.Model)], new RoundOptions { BalanceLora = true }, out _, CancellationToken.None);
    }

    private static Adapter Aggregate(
        IAggregator aggregator, Adapter like, TensorSource global, IEnumerable<ClientUpdate> updates, RoundOptions options, out RoundReport report, CancellationToken cancellationToken)
    {
        var round = new AggregationRound(global, options);
        foreach (ClientUpdate update in updates)
            round.Add(update);
        var sink = new StateDictSink(like.Factors);
        try
        {
            report = aggregator.AggregateAsync(round, sink, cancellationToken).GetAwaiter().GetResult().Report;
        }
        catch (RoundRejectedException e) when (e.Fault == RoundFault.NonFinite)
        {
            throw new DivergedException(e);
        }

        return new Adapter(sink.StateDict);
    }

    /// <summary>x + step (y - x).</summary>
    private static Adapter Move(Adapter received, Adapter target, double step) =>
        new(received.Factors.ToDictionary(pair => pair.Key, pair => lerp(pair.Value, target.Factors[pair.Key], step)));

    /// <summary>The factors that an update stands for: a mean of one.</summary>
    private static Adapter Whole(ClientUpdate update, Adapter like, TensorSource global) =>
        Aggregate(new FedAvgAggregator(), like, global, [update], new RoundOptions(), out _, CancellationToken.None);

    /// <summary>An aggregator's step on the products B A, in float64.</summary>
    private static RoundReport OfProducts(
        IAggregator aggregator, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates, RoundOptions options, double step, out Adapter next, CancellationToken cancellationToken)
    {
        using DisposeScope scope = NewDisposeScope();
        using var before = new Adapter(Products(received));
        var held = new List<StateDictModel>();
        var products = new List<ClientUpdate>();
        foreach (ClientUpdate update in updates)
        {
            using Adapter whole = Whole(update, received, global);
            held.Add(new StateDictModel(Products(whole)));
            products.Add(ClientUpdate.FromTensors(update.Id, held[^1].Model, update.Weight));
        }

        using var model = new StateDictModel(before.Factors);
        using Adapter mean = Aggregate(aggregator, before, model.Model, products, options, out RoundReport report, cancellationToken);
        held.ForEach(of => of.Dispose());
        using Adapter moved = Move(before, mean, step);
        next = Factors(moved.Factors);
        return report;
    }

    /// <summary>For each entry the mean over some of the clients, by their weights; the received value where there is none of them.</summary>
    private static Adapter MeanOfSome(MeanOver whom, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates)
    {
        Adapter[] clients = [.. updates.Select(update => Whole(update, received, global))];
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, Tensor x) in received.Factors)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor weights = tensor(updates.Select(update => update.Weight!.Value).ToArray()).view([-1, .. x.shape.Select(_ => 1L)]);
            Tensor changes = stack(clients.Select(client => client.Factors[name].to(float64) - x));
            Tensor signs = changes.sign(), sum = (changes * weights).sum(dim: 0);
            Tensor counted = weights * (whom == MeanOver.Senders ? signs.abs() : signs.eq(sum.sign().unsqueeze(0)).logical_and(signs.ne(0)).to(float64));
            Tensor total = counted.sum(dim: 0);
            factors[name] = (x + (changes * counted).sum(dim: 0) / (total + total.eq(0).to(float64))).to(float32).MoveToOuterDisposeScope();
        }

        Array.ForEach(clients, client => client.Dispose());
        return new Adapter(factors);
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
