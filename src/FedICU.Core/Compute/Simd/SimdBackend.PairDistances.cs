using FedICU.Compute.Reference;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddPairDistances: a block of all inputs is widened once, then pairs are computed within it.
public sealed unsafe partial class SimdBackend
{
    /// <inheritdoc/>
    public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums)
    {
        ScalarMath.CheckPairSums(inputs.Length, sums.Length);
        if (inputs.Length < 2)
            return;
        fixed (double* first = sums)
        {
            switch (Width)
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
        var block = new PairBlock(inputs.Length, PanelGeometry.DistanceBlock);
        try
        {
            for (int start = 0; start < length; start += PanelGeometry.DistanceBlock)
            {
                block.Load<L>(inputs, start, Math.Min(PanelGeometry.DistanceBlock, length - start));
                AddPairTerms<L, DistanceTerm>(block, new GroupValues(sums, 1));
            }
        }
        finally
        {
            block.Dispose();
        }
    }
}
