using System.Runtime.CompilerServices;
using FedICU.Compute.Reference;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddDistances: a block of the origin and of the direction is widened once, then the inputs are read few at a time.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Inputs whose squares and products are summed side by side. Chosen: their four sums hide the latency of a fused
    /// multiply-add, and stay in the registers of AVX2.
    /// </summary>
    private const int ProductInputs = 2;

    /// <summary>
    /// Elements of the origin and the direction that are widened at once, a multiple of the block: chosen, both stay in
    /// the first-level cache, and each input is read for several blocks before the next.
    /// </summary>
    private const int DistanceTile = 4 * PanelGeometry.DistanceBlock;

    /// <inheritdoc/>
    public void AddDistances(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
        Span<double> products)
    {
        ScalarMath.CheckDistanceSums(inputs.Length, direction, squares.Length, products.Length);
        fixed (double* firstSquare = squares, firstProduct = products)
        {
            switch (Width)
            {
                case 512: AddDistances<Lanes512>(inputs, origin, direction, length, firstSquare, firstProduct); break;
                case 256: AddDistances<Lanes256>(inputs, origin, direction, length, firstSquare, firstProduct); break;
                default: AddDistances<Lanes128>(inputs, origin, direction, length, firstSquare, firstProduct); break;
            }
        }
    }

    [SkipLocalsInit]
    private static void AddDistances<L>(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, double* squares, double* products)
        where L : unmanaged, ILanes<L>
    {
        double* origins = stackalloc double[DistanceTile], directions = stackalloc double[DistanceTile];
        bool hasDirection = direction.Data != null;
        if (origin.Data == null)
            new Span<double>(origins, DistanceTile).Clear();
        for (int start = 0; start < length; start += DistanceTile)
        {
            int count = Math.Min(DistanceTile, length - start);
            double* from = origin.Data == null ? origins : Widen<L>(origin, start, count, origins);
            // without a direction, the products of fewer than four inputs are not used
            double* towards = from;
            if (hasDirection)
            {
                towards = directions;
                WidenToTile<L>(direction, start, count, towards);
                for (int i = 0; i < count; i += Lanes)
                    L.Store(L.Subtract(L.Load(towards + i), L.Load(from + i)), towards + i);
            }

            for (int k = 0; k < inputs.Length;)
            {
                Inputs some = TakeSameType(inputs, k);
                if (hasDirection || some.Count < SquaredInputs)
                    some.Count = Math.Min(some.Count, ProductInputs);
                for (int at = 0; at < count; at += PanelGeometry.DistanceBlock)
                {
                    var block = new WidenedBlock
                    {
                        Start = start + at,
                        Count = Math.Min(PanelGeometry.DistanceBlock, count - at),
                        Origin = from + at,
                        Direction = towards + at,
                    };
                    double* ofProducts = hasDirection ? products + k : null;
                    switch (inputs[k].DType)
                    {
                        case DType.F64: AddDistances<L, F64>(some, block, squares + k, ofProducts); break;
                        case DType.F32: AddDistances<L, F32>(some, block, squares + k, ofProducts); break;
                        case DType.F16: AddDistances<L, F16>(some, block, squares + k, ofProducts); break;
                        case DType.BF16: AddDistances<L, BF16>(some, block, squares + k, ofProducts); break;
                        case DType other: throw Rounding.NotComputed(other);
                    }
                }

                k += some.Count;
            }
        }
    }

    private static void AddDistances<L, E>(Inputs inputs, in WidenedBlock block, double* squares, double* products)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        bool four = inputs.Count == SquaredInputs;
        FourSums<L> sums = four ? SumSquares<L, E>(inputs, block) : SumSquaresAndProducts<L, E>(inputs, block);
        sums.AddTo(squares, 1, inputs.Count);
        if (products != null)
            new FourSums<L> { A = sums.C, B = sums.D }.AddTo(products, 1, inputs.Count);
    }

    /// <summary>Computes the lanes of the squared distances of four inputs.</summary>
    [MethodImpl(Kernel)]
    private static FourSums<L> SumSquares<L, E>(Inputs inputs, in WidenedBlock block)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        int count = block.Count;
        nint offset = (nint)block.Start * E.Size;
        byte* x0 = inputs.X0 + offset, x1 = inputs.X1 + offset, x2 = inputs.X2 + offset, x3 = inputs.X3 + offset;
        double* origin = block.Origin;
        L s0 = L.Broadcast(0), s1 = s0, s2 = s0, s3 = s0;
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L o = L.Load(origin + i), d = L.Subtract(LoadAndPrefetch<L, E>(x0 + i * E.Size), o);
            s0 = L.FusedMultiplyAdd(d, d, s0);
            d = L.Subtract(LoadAndPrefetch<L, E>(x1 + i * E.Size), o);
            s1 = L.FusedMultiplyAdd(d, d, s1);
            d = L.Subtract(LoadAndPrefetch<L, E>(x2 + i * E.Size), o);
            s2 = L.FusedMultiplyAdd(d, d, s2);
            d = L.Subtract(LoadAndPrefetch<L, E>(x3 + i * E.Size), o);
            s3 = L.FusedMultiplyAdd(d, d, s3);
        }

        var sums = new FourSums<L> { A = s0, B = s1, C = s2, D = s3 };
        if (i < count)
            AddRest<L, E>(inputs, block, (int)i, (L*)&sums);
        return sums;
    }

    /// <summary>Computes the lanes of the squared distances, then of the products, of up to two inputs.</summary>
    [MethodImpl(Kernel)]
    private static FourSums<L> SumSquaresAndProducts<L, E>(Inputs inputs, in WidenedBlock block)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        int count = block.Count;
        nint offset = (nint)block.Start * E.Size;
        byte* x0 = inputs.X0 + offset, x1 = inputs.X1 + offset;
        double* origin = block.Origin, direction = block.Direction;
        L s0 = L.Broadcast(0), s1 = s0, p0 = s0, p1 = s0;
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L o = L.Load(origin + i), t = L.Load(direction + i), d = L.Subtract(LoadAndPrefetch<L, E>(x0 + i * E.Size), o);
            s0 = L.FusedMultiplyAdd(d, d, s0);
            p0 = L.FusedMultiplyAdd(d, t, p0);
            // without a second input it is the first again, and its sums are not used
            d = L.Subtract(LoadAndPrefetch<L, E>(x1 + i * E.Size), o);
            s1 = L.FusedMultiplyAdd(d, d, s1);
            p1 = L.FusedMultiplyAdd(d, t, p1);
        }

        var sums = new FourSums<L> { A = s0, B = s1, C = p0, D = p1 };
        if (i < count)
            AddRest<L, E>(inputs, block, (int)i, (L*)&sums);
        return sums;
    }

    /// <summary>Adds the last elements of a block, fewer than eight.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void AddRest<L, E>(Inputs inputs, in WidenedBlock block, int i, L* sums)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        int rest = block.Count - i;
        L o = L.Load(block.Origin + i);
        for (int j = 0; j < inputs.Count; j++)
        {
            L d = L.Subtract(Partial<L>.Load<E>(inputs[j] + (nint)(block.Start + i) * E.Size, rest), o);
            sums[j] = L.FusedMultiplyAdd(d, d, sums[j]);
            if (inputs.Count <= ProductInputs)
                sums[ProductInputs + j] = L.FusedMultiplyAdd(d, L.Load(block.Direction + i), sums[ProductInputs + j]);
        }
    }

    /// <summary>A block of elements: of the inputs, and of the origin and the direction as float64.</summary>
    private struct WidenedBlock
    {
        public int Start, Count;

        /// <summary>The values of the origin, filled up with zeros to a multiple of eight.</summary>
        public double* Origin;

        /// <summary>The direction less the origin, filled up with zeros.</summary>
        public double* Direction;
    }
}
