using FedICU.Compute;

namespace FedICU.Rounds;

/// <summary>Computes the cosines between the clients' updates from statistics that some strategies need too.</summary>
internal static class UpdateSimilarities
{
    /// <summary>The statistics that the cosines follow from.</summary>
    public static IReadOnlyList<RoundStatistic> Statistics { get; } = [RoundStatistic.SquaredNorms, RoundStatistic.PairDistances];

    /// <summary>
    /// Returns whether the report states them. Their cost grows with the square of the number of clients.
    /// </summary>
    public static bool AreReported(RoundOptions options, int clients) =>
        options.Statistics && clients > 1 && clients <= (options.MaxSimilarityClients ?? int.MaxValue);

    /// <summary>
    /// Computes the cosines by the law of cosines, (a^2 + b^2 - ||a - b||^2) / 2ab, with a and b the norms.
    /// </summary>
    /// <param name="plan">The plan, for whose clients the statistics were measured.</param>
    public static ClientSimilarities Compute(RoundPlan plan)
    {
        ReadOnlySpan<double> squares = plan[RoundStatistic.SquaredNorms];
        int clients = plan.Clients.Count;
        double[] cosines = new double[GramPairs.Count(clients - 1)];
        for (int k = 1; k < clients; k++)
        {
            for (int j = 0; j < k; j++)
                cosines[GramPairs.Index(j, k - 1)] = ComputeCosine(squares[j], squares[k], plan.SquaredDistance(j, k));
        }

        return new ClientSimilarities([.. plan.Clients.Select(client => client.Id)], cosines);
    }

    private static double ComputeCosine(double a2, double b2, double distance)
    {
        if (a2 == 0 || b2 == 0)
            return 0;
        // roots first: the products of two squares can overflow or vanish
        double a = Math.Sqrt(a2), b = Math.Sqrt(b2), d = Math.Sqrt(distance);
        double cosine = ((a / b) + (b / a) - (d / a * (d / b))) / 2;
        return double.IsFinite(cosine) ? Math.Clamp(cosine, -1, 1) : 0;
    }
}
