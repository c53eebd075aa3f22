namespace FedICU;

/// <summary>
/// A stage that decides from statistics which clients take part, how much each weighs and by which factor its update is
/// multiplied: Krum's choice, norm clipping.
/// </summary>
public abstract class ClientWeighting : Stage
{
    /// <summary>Sets the clients' weights and factors, and chooses clients. Called once a round.</summary>
    /// <param name="plan">The clients, and the statistics that the stage asked for.</param>
    /// <param name="weights">
    /// The weights before this stage: at first each client's n_k, a factor of 1, and every client chosen.
    /// </param>
    public abstract void Weigh(RoundPlan plan, ClientWeights weights);
}
