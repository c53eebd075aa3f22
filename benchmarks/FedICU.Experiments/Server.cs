using FedICU.TorchSharp;

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
    /// <param name="rule">The server's rule.</param>
    /// <param name="global">The factors that the clients received, as the model to which the updates refer.</param>
    /// <param name="updates">The clients' updates.</param>
    /// <param name="options">The round's options.</param>
    /// <param name="state">The rule's state; null if it keeps none.</param>
    /// <param name="report">The round's report.</param>
    /// <param name="cancellationToken">Cancels the aggregation.</param>
    /// <returns>The next factors, which the caller disposes.</returns>
    /// <exception cref="DivergedException">The result does not fit the factors' type.</exception>
    public static Adapter RunRound(
        IAggregator rule, TensorSource global, IEnumerable<ClientUpdate> updates, RoundOptions options, RoundState? state,
        out RoundReport report, CancellationToken cancellationToken)
    {
        var round = new AggregationRound(global, options) { State = state };
        foreach (ClientUpdate update in updates)
            round.Add(update);
        var sink = new StateDictSink([]);
        try
        {
            report = rule.AggregateAsync(round, sink, cancellationToken).GetAwaiter().GetResult().Report;
        }
        catch (RoundRejectedException e) when (e.Fault == RoundFault.NonFinite)
        {
            throw new DivergedException(e.Message, e);
        }

        return new Adapter(sink.StateDict);
    }

    /// <summary>Cuts an adapter to a rank: the best factors of its own products.</summary>
    /// <returns>The cut adapter, which the caller disposes.</returns>
    public static Adapter Cut(TensorSource adapter, int rank)
    {
        var sink = new StateDictSink([]);
        var options = new FlexLoraOptions { LoraScaling = Adapter.Scaling };
        // one thread, because clients are cut side by side
        AdapterCut.CutAsync(adapter, rank, sink, options, threads: 1).GetAwaiter().GetResult();
        return new Adapter(sink.StateDict);
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
        return RunRound(rule, model.Model, updates, new RoundOptions(), state: null, out _, CancellationToken.None);
    }
}
