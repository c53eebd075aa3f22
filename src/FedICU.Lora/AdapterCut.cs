using FedICU.Rounds.Lora;

namespace FedICU;

/// <summary>Cuts a LoRA adapter to a rank: each pair gets the best factors of its own product.</summary>
public static class AdapterCut
{
    /// <summary>Writes the adapter with a smaller rank. A pair of that rank or a smaller one keeps its rank.</summary>
    /// <param name="adapter">The adapter; borrowed.</param>
    /// <param name="rank">The rank, at least 1.</param>
    /// <param name="output">Receives the adapter: <c>TensorSink.To(folder, adapter)</c>.</param>
    /// <param name="options">
    /// How the singular values are divided, and the scaling of an adapter without a configuration; its rank has no
    /// effect. Null for the defaults.
    /// </param>
    /// <param name="threads">The number of threads; 0: one for each CPU.</param>
    /// <param name="cancellationToken">Ends the work; nothing is then written.</param>
    /// <returns>The report, with the error of each pair in <see cref="RoundReport.LoraPairs"/>.</returns>
    /// <exception cref="FedIcuException">The adapter has no plain LoRA pairs, or a value is not finite.</exception>
    public static Task<AggregationResult> CutAsync(
        TensorSource adapter, int rank, TensorSink output, FlexLoraOptions? options = null, int threads = 0,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(adapter);
        LoraPairs.FindPlain(adapter, options?.LoraScaling, cancellationToken);
        // one client that sends the global model: the mean of the products is its own
        var cut = new FlexLora((options ?? new FlexLoraOptions()) with { Rank = rank }) { KeepsSmallerRanks = true };
        var round = new AggregationRound(adapter, new RoundOptions { Threads = threads })
        {
            ClientUpdate.FromTensors("adapter", adapter, examples: 1, kind: UpdateKind.Full),
        };
        return new StageAggregator(cut).AggregateAsync(round, output, cancellationToken);
    }
}
