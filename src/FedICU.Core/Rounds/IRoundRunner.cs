namespace FedICU.Rounds;

/// <summary>
/// Runs the work of a checked round from its plan: on this machine's threads (<see cref="LocalRunner"/>), or in parts
/// on several machines.
/// </summary>
internal interface IRoundRunner
{
    /// <summary>
    /// Measures a statistic: a sum of each tensor, added in the model's order.
    /// </summary>
    /// <param name="plan">The plan, with the statistics that were measured before.</param>
    /// <param name="statistic">The statistic.</param>
    /// <param name="transformed">Whether the updates are read after the transforms, as the merge reads them.</param>
    Task<double[]> SurveyAsync(RoundPlan plan, RoundStatistic statistic, bool transformed);

    /// <summary>Merges all units and writes them to the output.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="outputs">The output's tensors, in the global model's order.</param>
    /// <param name="output">Receives the model.</param>
    /// <param name="state">The server's steps and their state.</param>
    /// <returns>The report of each tensor.</returns>
    Task<IReadOnlyList<TensorReport>> RunAsync(RoundPlan plan, IReadOnlyList<TensorInfo> outputs, TensorSink output, State.StateRun state);
}
