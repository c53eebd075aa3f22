namespace FedICU;

/// <summary>A rule that combines many clients' updates into one model.</summary>
public interface IAggregator
{
    /// <summary>
    /// The rule's name on the command line and in reports: <c>fedavg</c>, <c>fedprox</c>, <c>fedicu</c>.
    /// </summary>
    string Name { get; }

    /// <summary>
    /// Checks the round, computes the new model and commits it to the output. A failed round leaves the output
    /// unchanged.
    /// </summary>
    /// <param name="round">The global model, the clients' updates and the round's options.</param>
    /// <param name="output">Receives the new model.</param>
    /// <param name="cancellationToken">Ends the round without output.</param>
    /// <exception cref="RoundRejectedException">
    /// An update or its values are refused; names client, tensor, expected and found.
    /// </exception>
    /// <exception cref="InvalidModelException">The global model cannot be read.</exception>
    /// <exception cref="InvalidOptionsException">The options contradict their rules.</exception>
    /// <exception cref="FedIcuException">
    /// The output cannot be written. Also the base of the three exceptions above.
    /// </exception>
    /// <exception cref="OperationCanceledException">The round was cancelled.</exception>
    Task<AggregationResult> AggregateAsync(AggregationRound round, TensorSink output, CancellationToken cancellationToken = default);
}
