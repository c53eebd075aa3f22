using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>Runs the server's part of a round.</summary>
internal static class Server
{
    /// <summary>Composes the server's rule: the method's strategy, with the steps that the method adds.</summary>
    /// <param name="method">The method.</param>
    /// <param name="stages">The stages of its strategy.</param>
    public static StageAggregator Compose(Method method, IReadOnlyList<Stage> stages)
    {
        var composed = new List<Stage>(method.MeanOver == MeanOver.All ? stages : [new MeanOfSome(method.MeanOver)]);
        if (method.Step != 1)
            composed.Add(new StepSize(method.Step));
        if (method.Balanced)
            composed.Add(new LoraBalance());
        return new StageAggregator(composed);
    }

    /// <summary>Computes the next factors from the clients' updates.</summary>
    /// <param name="method">The method.</param>
    /// <param name="rule">The server's rule.</param>
    /// <param name="received">The factors that the clients received.</param>
    /// <param name="global">The same factors as the model to which the updates refer.</param>
    /// <param name="updates">The clients' updates.</param>
    /// <param name="options">The round's options.</param>
    /// <param name="state">The rule's state; null if it keeps none.</param>
    /// <param name="next">The next factors, which the caller disposes.</param>
    /// <param name="cancellationToken">Cancels the aggregation.</param>
    /// <exception cref="DivergedException">The result does not fit the factors' type.</exception>
    public static RoundReport RunRound(
        Method method, IAggregator rule, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates,
        RoundOptions options, RoundState? state, out Adapter next, CancellationToken cancellationToken)
    {
        if (method.Product)
            return AggregateProducts(rule, received, global, updates, options, out next, cancellationToken);
        next = Aggregate(rule, received, global, updates, options, out RoundReport report, cancellationToken, state);
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
        var rule = new StageAggregator(new FedAvg(), new LoraBalance());
        return Aggregate(rule, adapter, model.Model, updates, new RoundOptions(), out _, CancellationToken.None);
    }

    private static Adapter Aggregate(
        IAggregator aggregator, Adapter like, TensorSource global, IEnumerable<ClientUpdate> updates, RoundOptions options,
        out RoundReport report, CancellationToken cancellationToken, RoundState? state = null)
    {
        var round = new AggregationRound(global, options) { State = state };
        foreach (ClientUpdate update in updates)
            round.Add(update);
        var sink = new StateDictSink(like.Factors);
        try
        {
            report = aggregator.AggregateAsync(round, sink, cancellationToken).GetAwaiter().GetResult().Report;
        }
        catch (RoundRejectedException e) when (e.Fault == RoundFault.NonFinite)
        {
            throw new DivergedException(e.Message, e);
        }

        return new Adapter(sink.StateDict);
    }

    /// <summary>Unpacks an update into whole factors, as the mean of this one client.</summary>
    private static Adapter Unpack(ClientUpdate update, Adapter like, TensorSource global) =>
        Aggregate(new FedAvgAggregator(), like, global, [update], new RoundOptions(), out _, CancellationToken.None);

    /// <summary>Runs an aggregator's step on the products B A, in float64.</summary>
    private static RoundReport AggregateProducts(
        IAggregator aggregator, Adapter received, TensorSource global, IReadOnlyList<ClientUpdate> updates, RoundOptions options,
        out Adapter next, CancellationToken cancellationToken)
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
        using Adapter made = Aggregate(aggregator, before, model.Model, products, options, out RoundReport report, cancellationToken);
        held.ForEach(of => of.Dispose());
        next = Factorize(made.Factors);
        return report;
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
