using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedICU.Strategies.Merging;

/// <summary>
/// TIES' election and merge: each element gets the sign of the sum of the updates, and the updates that have this sign
/// are averaged.
/// </summary>
/// <param name="elect">What decides the sign.</param>
/// <param name="electWeights">Whether the clients' weights count in the sum that decides it.</param>
/// <param name="disjoint">What the sum of the agreeing updates is divided by.</param>
/// <param name="weights">The clients' weights.</param>
/// <param name="scale">A factor of the result.</param>
internal sealed class SignElection(ElectRule elect, bool electWeights, DisjointRule disjoint, double[] weights, double scale)
{
    // a sum of at most this share of the magnitudes in it counts as 0, whose sign is +
    private const double Zero = 1e-12;

    /// <summary>Writes the block's result.</summary>
    /// <param name="block">The clients' updates.</param>
    /// <param name="least">The least magnitude of each client that counts; above 0.</param>
    public void Merge(ClientBlock block, double[] least)
    {
        switch (elect, electWeights, disjoint)
        {
            case (ElectRule.Sum, true, DisjointRule.Mean): Merge<WeightedSum, Mean>(block, least); break;
            case (ElectRule.Sum, true, DisjointRule.Count): Merge<WeightedSum, Count>(block, least); break;
            case (ElectRule.Sum, true, _): Merge<WeightedSum, Sum>(block, least); break;
            case (ElectRule.Sum, false, DisjointRule.Mean): Merge<PlainSum, Mean>(block, least); break;
            case (ElectRule.Sum, false, DisjointRule.Count): Merge<PlainSum, Count>(block, least); break;
            case (ElectRule.Sum, false, _): Merge<PlainSum, Sum>(block, least); break;
            case (_, _, DisjointRule.Mean): Merge<Count, Mean>(block, least); break;
            case (_, _, DisjointRule.Count): Merge<Count, Count>(block, least); break;
            default: Merge<Count, Sum>(block, least); break;
        }
    }

    /// <summary>
    /// Adds the positive and the negative updates of an element separately: both the sign and the result follow from
    /// the two sums, so that each value is read once.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Merge<E, D>(ClientBlock block, double[] least)
    {
        Vector512<double> zero = Vector512<double>.Zero, one = Vector512<double>.One;
        ref double values = ref MemoryMarshal.GetReference(block[0]), result = ref MemoryMarshal.GetReference(block.Result);
        nuint row = (nuint)block.Length;
        for (nuint i = 0; i < row; i += (nuint)Vector512<double>.Count)
        {
            Vector512<double> plus = zero, minus = zero, plainPlus = zero, plainMinus = zero;
            Vector512<double> plusWeight = zero, minusWeight = zero, plusCount = zero, minusCount = zero;
            ref double value = ref Unsafe.Add(ref values, i);
            for (int k = 0; k < least.Length; k++, value = ref Unsafe.Add(ref value, row))
            {
                Vector512<double> d = Vector512.LoadUnsafe(ref value), bound = Vector512.Create(least[k]), w = Vector512.Create(weights[k]);
                Vector512<double> isPlus = Vector512.GreaterThanOrEqual(d, bound), isMinus = Vector512.LessThanOrEqual(d, -bound);
                Vector512<double> up = Vector512.ConditionalSelect(isPlus, d, zero), down = Vector512.ConditionalSelect(isMinus, d, zero);
                plus = Vector512.FusedMultiplyAdd(up, w, plus);
                minus = Vector512.FusedMultiplyAdd(down, w, minus);
                if (typeof(E) == typeof(PlainSum))
                    (plainPlus, plainMinus) = (plainPlus + up, plainMinus + down);
                if (typeof(D) == typeof(Mean))
                {
                    plusWeight += Vector512.ConditionalSelect(isPlus, w, zero);
                    minusWeight += Vector512.ConditionalSelect(isMinus, w, zero);
                }

                if (typeof(E) == typeof(Count) || typeof(D) == typeof(Count))
                {
                    plusCount += Vector512.ConditionalSelect(isPlus, one, zero);
                    minusCount += Vector512.ConditionalSelect(isMinus, one, zero);
                }
            }

            (Vector512<double> up1, Vector512<double> down1) = typeof(E) == typeof(Count) ? (plusCount, -minusCount)
                : typeof(E) == typeof(PlainSum) ? (plainPlus, plainMinus) : (plus, minus);
            Vector512<double> isNegative = Vector512.LessThan(up1 + down1, (up1 - down1) * -Zero);
            Vector512<double> merged = Vector512.ConditionalSelect(isNegative, minus, plus);
            if (typeof(D) != typeof(Sum))
            {
                Vector512<double> divisor = typeof(D) == typeof(Mean)
                    ? Vector512.ConditionalSelect(isNegative, minusWeight, plusWeight)
                    : Vector512.ConditionalSelect(isNegative, minusCount, plusCount);
                merged = Vector512.ConditionalSelect(Vector512.GreaterThan(divisor, zero), merged / divisor, zero);
            }

            (merged * scale).StoreUnsafe(ref result, i);
        }
    }

    // the choices as types, so that each pair of them is compiled on its own
    private readonly struct WeightedSum;

    private readonly struct PlainSum;

    private readonly struct Mean;

    private readonly struct Count;

    private readonly struct Sum;
}
