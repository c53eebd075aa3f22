using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FedICU.Compute.Reference;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddPairDistances: a block of all inputs is widened once, then pairs are computed within it.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Elements of a block.</summary>
    private const int DistanceBlock = PanelGeometry.DistanceBlock;

    /// <inheritdoc/>
    public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums)
    {
        ScalarMath.CheckPairSums(inputs.Length, sums.Length);
        if (inputs.Length < 2)
            return;
        fixed (double* first = sums)
        {
            switch (_width)
            {
                case 512: AddPairDistances<Lanes512>(inputs, length, first); break;
                case 256: AddPairDistances<Lanes256>(inputs, length, first); break;
                default: AddPairDistances<Lanes128>(inputs, length, first); break;
            }
        }
    }

    private static void AddPairDistances<L>(ReadOnlySpan<TensorPanel> inputs, int length, double* sums)
        where L : unmanaged, ILanes<L>
    {
        double* tile = (double*)NativeMemory.AlignedAlloc((nuint)inputs.Length * DistanceBlock * sizeof(double), Slack);
        try
        {
            for (int start = 0; start < length; start += DistanceBlock)
            {
                int count = Math.Min(DistanceBlock, length - start);
                for (int k = 0; k < inputs.Length; k++)
                    WidenToTile<L>(inputs[k], start, count, tile + k * DistanceBlock);
                AddTileDistances<L>(tile, inputs.Length, count, sums);
            }
        }
        finally
        {
            NativeMemory.AlignedFree(tile);
        }
    }

    [MethodImpl(Kernel)]
    private static void AddTileDistances<L>(double* tile, int inputs, int count, double* sums)
        where L : unmanaged, ILanes<L>
    {
        for (int k = 1; k < inputs; k++)
        {
            double* y = tile + k * DistanceBlock;
            for (int j = 0; j < k; j++)
            {
                double* x = tile + j * DistanceBlock;
                L lanes = L.Broadcast(0);
                for (int i = 0; i < count; i += Lanes)
                {
                    L difference = L.Subtract(L.Load(x + i), L.Load(y + i));
                    lanes = L.FusedMultiplyAdd(difference, difference, lanes);
                }

                sums[GramPairs.Index(j, k - 1)] += L.Sum(lanes);
            }
        }
    }
}
