using System.Collections.Concurrent;

namespace FedICU.Compute.Simd;

/// <summary>
/// Compare-and-exchange steps that bring some ranks of N values to their places: Batcher's merge exchange (Knuth, The
/// Art of Computer Programming 3, 5.2.2, Algorithm M) without the steps that those ranks do not need.
/// </summary>
internal static class SortingNetwork
{
    /// <summary>
    /// The largest N. Derived: places fit a byte, and 256 rows of keys the L1 cache. Measured: counting is slower for
    /// fewer inputs.
    /// </summary>
    public const int MaxInputs = 256;

    private static readonly ConcurrentDictionary<(int Inputs, int Trim), byte[]> Known = new();

    /// <summary>
    /// Returns the steps for ranks 0, trim, N - 1 - trim and N - 1: pairs of places, of which the first receives the
    /// smaller value.
    /// </summary>
    public static byte[] Get(int inputs, int trim) => Known.GetOrAdd((inputs, trim), key => Create(key.Inputs, key.Trim));

    private static byte[] Create(int inputs, int trim)
    {
        List<(int First, int Second)> all = CreateSort(inputs), steps = [];
        var isNeeded = new bool[inputs];
        isNeeded[0] = isNeeded[trim] = isNeeded[^(trim + 1)] = isNeeded[^1] = true;
        for (int i = all.Count - 1; i >= 0; i--)
        {
            (int first, int second) = all[i];
            if (!isNeeded[first] && !isNeeded[second])
                continue;
            isNeeded[first] = isNeeded[second] = true;
            steps.Add(all[i]);
        }

        steps.Reverse();
        return [.. steps.SelectMany(step => (byte[])[(byte)step.First, (byte)step.Second])];
    }

    /// <summary>Returns the steps that sort all values.</summary>
    private static List<(int First, int Second)> CreateSort(int inputs)
    {
        var steps = new List<(int, int)>();
        int half = 1;
        while (2 * half < inputs)
            half *= 2;
        for (int p = half; p > 0; p /= 2)
        {
            // the names of Algorithm M
            for (int q = half, r = 0, d = p; ; d = q - p, q /= 2, r = p)
            {
                for (int i = 0; i < inputs - d; i++)
                {
                    if ((i & p) == r)
                        steps.Add((i, i + d));
                }

                if (q == p)
                    break;
            }
        }

        return steps;
    }
}
