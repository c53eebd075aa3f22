namespace FedICU.Strategies.Robust;

/// <summary>
/// The scores of Krum: for each client the sum of the squared distances to its nearest other clients.
/// </summary>
internal static class KrumScores
{
    /// <summary>Refuses a round with too few clients.</summary>
    public static void Check(RoundPlan plan, string stage, int? byzantine) =>
        ClientCounts.Require(plan, stage, byzantine, 2L * (byzantine ?? 0) + 3, "2 byzantine + 3");

    /// <summary>Returns f, by default the most that N clients bear.</summary>
    public static int GetByzantine(RoundPlan plan, int? byzantine) => byzantine ?? (plan.Clients.Count - 3) / 2;

    /// <summary>
    /// Computes each client's score: the sum of its N - f - 2 smallest squared distances, in ascending order.
    /// </summary>
    public static double[] Compute(RoundPlan plan, int byzantine) =>
        Compute(plan, [.. Enumerable.Range(0, plan.Clients.Count)], byzantine);

    /// <summary>Does the same among some clients, with at least one neighbour.</summary>
    public static double[] Compute(RoundPlan plan, IReadOnlyList<int> clients, int byzantine)
    {
        int count = clients.Count, neighbours = Math.Min(count - 1, Math.Max(1, count - byzantine - 2));
        double[] scores = new double[count], distances = new double[Math.Max(0, count - 1)];
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j < distances.Length; j++)
                distances[j] = plan.SquaredDistance(clients[i], clients[j < i ? j : j + 1]);
            Array.Sort(distances);
            for (int j = 0; j < neighbours; j++)
                scores[i] += distances[j];
        }

        return scores;
    }
}
