using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
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

    /// <summary>Sets the values to 0 whose number is not below a limit.</summary>
    /// <param name="start">The index of the first value.</param>
    /// <param name="limit">The limit, above 0; from 1 on every value stays.</param>
    /// <param name="values">The values, a multiple of eight.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void KeepBelow(long start, double limit, Span<double> values)
    {
        if (limit >= 1)
            return;
        ulong* keys = stackalloc ulong[Philox.KeyCount];
        generator.ListKeys(keys);
        Vector512<ulong> least = ToWords(limit), index = Vector512.Create((ulong)start) + Vector512<ulong>.Indices;
        ref double first = ref MemoryMarshal.GetReference(values);
        for (nuint i = 0; i < (nuint)values.Length; i += Philox.Lanes, index += Vector512.Create((ulong)Philox.Lanes))
        {
            Vector512<ulong> isKept = Vector512.LessThan(generator.Draw(index, keys).First, least);
            Vector512<double> value = Vector512.LoadUnsafe(ref first, i);
            Vector512.ConditionalSelect(isKept.AsDouble(), value, Vector512<double>.Zero).StoreUnsafe(ref first, i);
        }
    }

    /// <summary>Adds the values whose number is below a limit, times a factor, to sums.</summary>
    /// <param name="start">The index of the first value.</param>
    /// <param name="limit">The limit, above 0; from 1 on every value is added.</param>
    /// <param name="values">The values, a multiple of eight.</param>
    /// <param name="factor">The factor.</param>
    /// <param name="sums">As many sums.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void AddBelow(long start, double limit, ReadOnlySpan<double> values, double factor, Span<double> sums)
    {
        if (limit >= 1)
        {
            TensorPrimitives.FusedMultiplyAdd(values, factor, sums, sums);
            return;
        }

        ulong* keys = stackalloc ulong[Philox.KeyCount];
        generator.ListKeys(keys);
        Vector512<ulong> least = ToWords(limit), index = Vector512.Create((ulong)start) + Vector512<ulong>.Indices;
        Vector512<double> factors = Vector512.Create(factor);
        ref double first = ref MemoryMarshal.GetReference(values), firstSum = ref MemoryMarshal.GetReference(sums);
        for (nuint i = 0; i < (nuint)values.Length; i += Philox.Lanes, index += Vector512.Create((ulong)Philox.Lanes))
        {
            Vector512<ulong> isKept = Vector512.LessThan(generator.Draw(index, keys).First, least);
            Vector512<double> kept = Vector512.ConditionalSelect(
                isKept.AsDouble(), Vector512.LoadUnsafe(ref first, i), Vector512<double>.Zero);
            Vector512.FusedMultiplyAdd(kept, factors, Vector512.LoadUnsafe(ref firstSum, i)).StoreUnsafe(ref firstSum, i);
        }
    }

    /// <summary>Returns the word below which numbers are below the limit: u 2^53 &lt; ceil(limit 2^53).</summary>
    private static Vector512<ulong> ToWords(double limit) => Vector512.Create((ulong)Math.Ceiling(Math.ScaleB(limit, 53)) << UnusedBits);
}
