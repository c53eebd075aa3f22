using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>Runs the server's part of a round, including steps that the library does not have.</summary>
internal static class Server
{
    /// <summary>Computes the next factors from the clients' updates.</summary>
    /// <param name="method">The method, which adds steps to the aggregator's step.</param>
    /// <param name="aggregator">The library's aggregator.</param>
    /// <param name="received">The factors that the clients received.</param>
    /// <param name="global">The same factors as the model to which the updates refer.</param>
    /// <param name="updates">The clients' updates.</param>
    /// <param name="options">The round's options.</param>
    /// <param name="next">The next factors, which the caller disposes.</param>
    /// <param name="cancellationToken">Cancels the aggregator's step.</param>
    /// <exception cref="DivergedException">The result does not fit the factors' type.</exception>
    public static RoundReport RunRound(
        Method method, IAggregator aggregator, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates,
        RoundOptions options, out Adapter next, CancellationToken cancellationToken)
    {
        if (method.Product)
            return AggregateProducts(aggregator, received, global, updates, options, method.Step, out next, cancellationToken);
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

    /// <summary>
    /// Rewrites each LoRA pair so that both factors carry the same singular values; the product is unchanged.
    /// </summary>
    /// <exception cref="DivergedException">The factors do not fit their type.</exception>
    public static Adapter Balance(Adapter adapter)
    {
        using var model = new StateDictModel(adapter.Factors);
        ClientUpdate[] updates = [ClientUpdate.FromTensors("server", model.Model)];
        var options = new RoundOptions { BalanceLora = true };
        return Aggregate(new FedAvgAggregator(), adapter, model.Model, updates, options, out _, CancellationToken.None);
    }

    private static Adapter Aggregate(
        IAggregator aggregator, Adapter like, TensorSource global, IEnumerable<ClientUpdate> updates, RoundOptions options,
        out RoundReport report, CancellationToken cancellationToken)
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

    /// <summary>Computes x + step (y - x).</summary>
    private static Adapter Move(Adapter received, Adapter target, double step) =>
        new(received.Factors.ToDictionary(pair => pair.Key, pair => lerp(pair.Value, target.Factors[pair.Key], step)));

    /// <summary>Unpacks an update into whole factors, as the mean of this one client.</summary>
    private static Adapter Unpack(ClientUpdate update, Adapter like, TensorSource global) =>
        Aggregate(new FedAvgAggregator(), like, global, [update], new RoundOptions(), out _, CancellationToken.None);

    /// <summary>Runs an aggregator's step on the products B A, in float64.</summary>
    private static RoundReport AggregateProducts(
        IAggregator aggregator, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates, RoundOptions options,
        double step, out Adapter next, CancellationToken cancellationToken)
    {
        using DisposeScope scope = NewDisposeScope();
        using var before = new Adapter(Products(received));
        var held = new List<StateDictModel>();
        var products = new List<ClientUpdate>();
        foreach (ClientUpdate update in updates)
        {
            using Adapter whole = Unpack(update, received, global);
            held.Add(new StateDictModel(Products(whole)));
            products.Add(ClientUpdate.FromTensors(update.Id, held[^1].Model, update.Weight));
        }

        using var model = new StateDictModel(before.Factors);
        using Adapter mean = Aggregate(aggregator, before, model.Model, products, options, out RoundReport report, cancellationToken);
        held.ForEach(of => of.Dispose());
        using Adapter moved = Move(before, mean, step);
        next = Factorize(moved.Factors);
        return report;
    }

    /// <summary>
    /// Computes each entry's weighted mean over some of the clients; the received value if there are none of them.
    /// </summary>
    private static Adapter MeanOfSome(MeanOver over, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates)
    {
        Adapter[] clients = [.. updates.Select(update => Unpack(update, received, global))];
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, Tensor x) in received.Factors)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor weights = tensor(updates.Select(update => update.Weight!.Value).ToArray()).view([-1, .. x.shape.Select(_ => 1L)]);
            Tensor changes = stack(clients.Select(client => client.Factors[name].to(float64) - x));
            Tensor signs = changes.sign(), sum = (changes * weights).sum(dim: 0);
            Tensor counts = over == MeanOver.Senders
                ? signs.abs()
                : signs.eq(sum.sign().unsqueeze(0)).logical_and(signs.ne(0)).to(float64);
            Tensor counted = weights * counts;
            Tensor total = counted.sum(dim: 0);
            Tensor mean = x + (changes * counted).sum(dim: 0) / (total + total.eq(0).to(float64));
            factors[name] = mean.to(float32).MoveToOuterDisposeScope();
        }

        Array.ForEach(clients, client => client.Dispose());
        return new Adapter(factors);
    }

    private static Dictionary<string, Tensor> Products(Adapter adapter) => Transformer.Matrices.ToDictionary(
        matrix => matrix.Name,
        matrix => adapter.Factors[Adapter.B(matrix.Name)].to(float64).mm(adapter.Factors[Adapter.A(matrix.Name)].to(float64)));

    /// <summary>
    /// Computes the nearest factors of the rank. Both factors get the square roots of the singular values.
    /// </summary>
    private static Adapter Factorize(Dictionary<string, Tensor> products)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, Tensor product) in products)
        {
            (Tensor left, Tensor values, Tensor right) = linalg.svd(product, fullMatrices: false);
            Tensor roots = values.narrow(0, 0, Adapter.Rank).sqrt();
            factors[Adapter.B(name)] = (left.narrow(1, 0, Adapter.Rank) * roots).to(float32).contiguous().MoveToOuterDisposeScope();
            factors[Adapter.A(name)] =
                (right.narrow(0, 0, Adapter.Rank) * roots.unsqueeze(1)).to(float32).contiguous().MoveToOuterDisposeScope();
        }

        return new Adapter(factors);
    }
}
