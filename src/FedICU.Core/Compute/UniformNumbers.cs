using System.Runtime.Intrinsics;

namespace FedICU.Compute;

/// <summary>
/// Uniform numbers in [0, 1) by position: multiples of 2^-53 that depend only on the seed, the stream's name and the
/// index (<see cref="Philox"/>).
/// </summary>
internal readonly unsafe struct UniformNumbers(Philox generator)
{
    // the bits of a word that are not used: a float64 of [0, 1) has 53
    private const int UnusedBits = 11;

    /// <summary>Gets the number at an index.</summary>
    public double this[long index]
    {
        get
        {
            ulong* keys = stackalloc ulong[Philox.KeyCount];
            generator.ListKeys(keys);
            return (generator.Draw(Vector512.Create((ulong)index), keys).First[0] >> UnusedBits) * Math.ScaleB(1, -53);
        }
    }

    /// <summary>Finds out which numbers are below a limit.</summary>
    /// <param name="start">The index of the first number.</param>
    /// <param name="limit">The limit, above 0 and below 1.</param>
    /// <param name="masks">
    /// Receives all bits or none for each number; a multiple of <see cref="Philox.Quad.Lanes"/>.
    /// </param>
    public void FindBelow(long start, double limit, Span<ulong> masks) =>
        generator.FindBelow(start, FindLimit(limit), masks);

    /// <summary>Gets the generator of the words whose upper bits are the numbers.</summary>
    public Philox Generator => generator;

    /// <summary>Returns the limit below which the words of the numbers below a limit are.</summary>
    // u < limit, in whole numbers: u 2^53 < ceil(limit 2^53)
    public static ulong FindLimit(double limit) => (ulong)Math.Ceiling(Math.ScaleB(limit, 53)) << UnusedBits;
}
