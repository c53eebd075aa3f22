namespace FedICU.Compute;

/// <summary>The order of the pairs (j, k), j &lt;= k, of N inputs: by k, then by j.</summary>
public static class GramPairs
{
    /// <summary>Returns the number of pairs.</summary>
    /// <param name="inputs">N.</param>
    /// <exception cref="OverflowException">The number does not fit an int.</exception>
    public static int Count(int inputs) => checked((int)((long)inputs * (inputs + 1) / 2));

    /// <summary>Returns the index of a pair.</summary>
    /// <param name="j">The first input; at most k.</param>
    /// <param name="k">The second input.</param>
    public static int Index(int j, int k) => Count(k) + j;
}
