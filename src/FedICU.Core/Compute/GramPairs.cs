namespace FedICU.Compute;

/// <summary>The order of the pairs (j, k), j &lt;= k, of N inputs: the pairs of a further input come after all others.</summary>
public static class GramPairs
{
    /// <summary>How many pairs there are.</summary>
    public static int Count(int inputs) => inputs * (inputs + 1) / 2;

    /// <summary>The place of a pair, j &lt;= k.</summary>
    public static int Index(int j, int k) => Count(k) + j;
}
