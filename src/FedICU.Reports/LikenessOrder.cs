namespace FedICU.Reports;

/// <summary>
/// Orders items so that alike ones stand side by side: the leaves of an average-linkage clustering, in which the two
/// ends that meet are the closest.
/// </summary>
internal static class LikenessOrder
{
    // Chosen: two matrices of float64 then take 64 MB, and the order a second.
    /// <summary>The most items that are ordered.</summary>
    public const int MostItems = 2000;

    /// <summary>Orders items by a distance. Ties go to the lower index, so the order is always the same.</summary>
    public static int[] Of(int count, Func<int, int, double> distance)
    {
        if (count == 0)
            return [];
        double[,] between = new double[count, count];
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j < i; j++)
                between[i, j] = between[j, i] = distance(i, j);
        }

        double[,] items = (double[,])between.Clone();
        List<int>?[] clusters = [.. Enumerable.Range(0, count).Select(i => (List<int>?)[i])];
        // the chain of nearest neighbours takes count^2 steps, while searching for the closest pair would take count^3
        List<int> chain = [];
        for (int merges = 0; merges < count - 1;)
        {
            if (chain.Count == 0)
                chain.Add(Array.FindIndex(clusters, cluster => cluster is not null));
            int last = chain[^1], before = chain.Count > 1 ? chain[^2] : -1;
            int nearest = FindNearest(clusters, between, last, before);
            if (nearest != before)
            {
                chain.Add(nearest);
                continue;
            }

            chain.RemoveRange(chain.Count - 2, 2);
            (int kept, int gone) = (Math.Min(last, before), Math.Max(last, before));
            (int a, int b) = (clusters[kept]!.Count, clusters[gone]!.Count);
            for (int other = 0; other < count; other++)
            {
                if (clusters[other] is not null)
                {
                    between[kept, other] = between[other, kept] =
                        (a * between[kept, other] + b * between[gone, other]) / (a + b);
                }
            }

            clusters[kept] = Join(clusters[kept]!, clusters[gone]!, items);
            clusters[gone] = null;
            merges++;
        }

        return [.. clusters.First(cluster => cluster is not null)!];
    }

    private static int FindNearest(List<int>?[] clusters, double[,] between, int from, int preferred)
    {
        int nearest = preferred;
        for (int other = 0; other < clusters.Length; other++)
        {
            if (other != from && clusters[other] is not null && (nearest < 0 || between[from, other] < between[from, nearest]))
                nearest = other;
        }

        return nearest;
    }

    private static List<int> Join(List<int> a, List<int> b, double[,] items)
    {
        (bool ReverseA, bool ReverseB, double Distance)[] ends =
        [
            (false, false, items[a[^1], b[0]]), (false, true, items[a[^1], b[^1]]),
            (true, false, items[a[0], b[0]]), (true, true, items[a[0], b[^1]]),
        ];
        (bool reverseA, bool reverseB, _) = ends.MinBy(end => end.Distance);
        if (reverseA)
            a.Reverse();
        if (reverseB)
            b.Reverse();
        return [.. a, .. b];
    }
}
