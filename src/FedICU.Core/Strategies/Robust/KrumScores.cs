using FedICU.Text;

namespace FedICU.Strategies.Robust;

/// <summary>
/// The scores of Krum: for each client the sum of the squared distances to its nearest other clients.
/// </summary>
internal static class KrumScores
{
    /// <summary>Refuses a round with too few clients.</summary>
    public static void Check(RoundPlan plan, string stage, int? byzantine)
    {
        int clients = plan.Clients.Count;
        long needed = 2L * (byzantine ?? 0) + 3;
        if (clients < needed)
        {
            string of = byzantine is null ? "" : $" with byzantine {byzantine}";
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(stage)}{of} needs at least {needed} clients (2 byzantine + 3); " +
                $"{Sentence.Count(clients, "client")} of a weight above 0 {Sentence.Form(clients, "takes", "take")} part.");
        }
    }

    /// <summary>Returns f, by default the most that N clients bear.</summary>
    public static int GetByzantine(RoundPlan plan, int? byzantine) => byzantine ?? (plan.Clients.Count - 3) / 2;

    /// <summary>
    /// Computes each client's score: the sum of its N - f - 2 smallest squared distances, in ascending order.
    /// </summary>
    public static double[] Compute(RoundPlan plan, int byzantine)
    {
        int clients = plan.Clients.Count, neighbours = clients - byzantine - 2;
        double[] scores = new double[clients], distances = new double[clients - 1];
        for (int i = 0; i < clients; i++)
        {
            for (int j = 0; j < distances.Length; j++)
                distances[j] = plan.SquaredDistance(i, j < i ? j : j + 1);
            Array.Sort(distances);
            for (int j = 0; j < neighbours; j++)
                scores[i] += distances[j];
        }

        return scores;
    }
}
