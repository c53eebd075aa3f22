using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddMoments.
public sealed unsafe partial class SimdBackend
{
    /// <inheritdoc/>
    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        switch (Width)
        {
            case 512: AddMoments<Lanes512>(inputs, length, ref update, ref global); break;
            case 256: AddMoments<Lanes256>(inputs, length, ref update, ref global); break;
            default: AddMoments<Lanes128>(inputs, length, ref update, ref global); break;
        }
    }

    private static void AddMoments<L>(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
        where L : unmanaged, ILanes<L>
    {
        for (int start = 0; start < length; start += MagnitudeMoments.Block)
            AddBlockMoments<L>(inputs, start, Math.Min(MagnitudeMoments.Block, length - start), ref update, ref global);
    }

    [SkipLocalsInit]
    private static void AddBlockMoments<L>(
        in ImportanceInputs inputs, int start, int count, ref MagnitudeMoments update, ref MagnitudeMoments global)
        where L : unmanaged, ILanes<L>
    {
        const int Bytes = MagnitudeMoments.Block * sizeof(double);
        byte* storage = stackalloc byte[2 * Bytes + 3 * ShortTileBytes + Slack];
        double* updates = Align(storage), globals = updates + MagnitudeMoments.Block, scratch = globals + MagnitudeMoments.Block;
        for (int i = 0; i < count; i += ShortTile)
        {
            int n = Math.Min(ShortTile, count - i);
            LoadUpdateAndGlobal<L>(inputs, start + i, n, scratch, out double* u, out double* g);
            StoreMagnitudes<L>(u, updates + i, n);
            StoreMagnitudes<L>(g, globals + i, n);
        }

        MergeBlock<L>(updates, count, ref update);
        MergeBlock<L>(globals, count, ref global);
    }

    [MethodImpl(Kernel)]
    private static void StoreMagnitudes<L>(double* source, double* target, int count)
        where L : unmanaged, ILanes<L>
    {
        for (nint i = 0; i < count; i += Lanes)
            L.Store(L.Abs(L.Load(source + i)), target + i);
    }

    /// <summary>
    /// Merges a block's moments: first its sum, minimum and maximum, then the squared deviations from its mean.
    /// </summary>
    [MethodImpl(Kernel)]
    private static void MergeBlock<L>(double* magnitudes, int count, ref MagnitudeMoments moments)
        where L : unmanaged, ILanes<L>
    {
        L sum = L.Broadcast(0), smallest = L.Broadcast(double.PositiveInfinity), largest = sum;
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L x = L.Load(magnitudes + i);
            sum = L.Add(sum, x);
            smallest = L.Minimum(smallest, x);
            largest = L.Maximum(largest, x);
        }

        int rest = count - (int)i;
        sum = rest == 0 ? sum : L.Add(sum, Partial<L>.First(L.Load(magnitudes + i), rest));
        double minimum = L.Smallest(smallest), maximum = L.Largest(largest), total = L.Sum(sum);
        for (nint j = i; j < count; j++)
        {
            minimum = Math.Min(minimum, magnitudes[j]);
            maximum = Math.Max(maximum, magnitudes[j]);
        }

        // a sum of magnitudes is NaN exactly when one of them is
        if (double.IsNaN(total))
            minimum = maximum = double.NaN;
        double mean = total / count;
        L center = L.Broadcast(mean);
        L squares = L.Broadcast(0);
        for (i = 0; i <= count - Lanes; i += Lanes)
        {
            L d = L.Subtract(L.Load(magnitudes + i), center);
            squares = L.FusedMultiplyAdd(d, d, squares);
        }

        if (rest > 0)
        {
            L d = Partial<L>.First(L.Subtract(L.Load(magnitudes + i), center), rest);
            squares = L.FusedMultiplyAdd(d, d, squares);
        }

        moments.Merge(count, mean, L.Sum(squares), minimum, maximum);
    }
}
