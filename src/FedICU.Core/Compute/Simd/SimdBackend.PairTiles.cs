using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// Sums over all pairs of any number of inputs, within a block of elements: inner products and squared distances.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Inputs j whose block stays in the L2 cache while all inputs k are paired with them: 512 KiB of float64. Must be
    /// even. Measured: with fewer inputs, the runs of sums are short, and 2,000 inputs take a quarter longer.
    /// </summary>
    private const int PairInputsInCache = 256;

    /// <summary>Inputs k of a tile of pairs.</summary>
    private const int PairTileRows = 4;

    /// <summary>Inputs j of a tile. Chosen: 4 x 2 sums stay in registers.</summary>
    private const int PairTileColumns = 2;

    /// <summary>A block of elements of all inputs as float64.</summary>
    private ref struct PairBlock : IDisposable
    {
        private readonly double* _tile;
        private readonly int _capacity;

        public PairBlock(int inputs, int capacity)
        {
            (Inputs, _capacity) = (inputs, capacity);
            _tile = (double*)NativeMemory.AlignedAlloc((nuint)inputs * ((nuint)capacity * sizeof(double) + (nuint)sizeof(double*)), Slack);
            Rows = (double**)(_tile + (nint)inputs * capacity);
        }

        public readonly int Inputs { get; }

        /// <summary>Gets the elements of the block, rounded up to a multiple of eight; the last ones are 0.</summary>
        public int Count { readonly get; private set; }

        /// <summary>Gets the address of each input's elements.</summary>
        public readonly double** Rows { get; }

        public void Load<L>(ReadOnlySpan<TensorPanel> inputs, int start, int count)
            where L : unmanaged, ILanes<L>
        {
            for (int k = 0; k < Inputs; k++)
                Rows[k] = Widen<L>(inputs[k], start, count, _tile + (nint)k * _capacity);
            Count = (count + Lanes - 1) / Lanes * Lanes;
        }

        public readonly void Dispose() => NativeMemory.AlignedFree(_tile);
    }

    /// <summary>Adds the reduce8 of each pair's terms to the pair's sum, which is the first group's.</summary>
    [MethodImpl(Kernel)]
    private static void AddPairTerms<L, T>(in PairBlock block, GroupValues sums)
        where L : unmanaged, ILanes<L>
        where T : struct, IPairTerm
    {
        double* lanes = stackalloc double[PairTileRows * PairTileColumns * Lanes];
        double** sumsOf = stackalloc double*[PairTileRows];
        nint stride = (nint)sums.Stride;
        int inputs = block.Inputs, count = block.Count;
        double** rows = block.Rows;
        for (int first = 0; first < inputs; first += PairInputsInCache)
        {
            for (int k = first; k < inputs; k += PairTileRows)
            {
                int endK = Math.Min(k + PairTileRows, inputs), endJ = Math.Min(first + PairInputsInCache, endK - 1 + T.Own);
                for (int r = k; r < endK; r++)
                    sumsOf[r - k] = sums.Row(GramPairs.Count(r - 1 + T.Own));
                for (int j = first; j < endJ; j += PairTileColumns)
                {
                    // the first input that j is paired with
                    int start = Math.Max(k, j + 1 - T.Own);
                    // the last input has no next one: its sums are not used
                    double* y0 = rows[j], y1 = rows[Math.Min(j + 1, inputs - 1)];
                    if (HasFewRegisters<L>())
                        AddTile<FourLanes, Vector256<double>, T>(rows + start, endK - start, y0, y1, count, lanes);
                    else
                        AddTile<EightLanes<L>, L, T>(rows + start, endK - start, y0, y1, count, lanes);
                    double* pair = lanes;
                    for (int r = start; r < endK; r++, pair += PairTileColumns * Lanes)
                    {
                        double* sum = sumsOf[r - k] + j * stride;
                        *sum += L.Sum(L.Load(pair));
                        if (j + 1 < r + T.Own)
                            sum[stride] += L.Sum(L.Load(pair + Lanes));
                    }
                }
            }
        }
    }

    private static void AddTile<W, V, T>(double** x, int rows, double* y0, double* y1, int count, double* lanes)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where T : struct, IPairTerm
    {
        switch (rows)
        {
            case 1: AddTile<W, V, T, One>(x, y0, y1, count, lanes); break;
            case 2: AddTile<W, V, T, Two>(x, y0, y1, count, lanes); break;
            case 3: AddTile<W, V, T, Three>(x, y0, y1, count, lanes); break;
            default: AddTile<W, V, T, Four>(x, y0, y1, count, lanes); break;
        }
    }

    /// <summary>Computes the eight lanes of each pair of a tile of R rows.</summary>
    [MethodImpl(Kernel)]
    private static void AddTile<W, V, T, R>(double** x, double* y0, double* y1, int count, double* lanes)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where T : struct, IPairTerm
        where R : struct, ICount
    {
        double* x0 = x[0], x1 = R.Value > 1 ? x[1] : x0, x2 = R.Value > 2 ? x[2] : x0, x3 = R.Value > 3 ? x[3] : x0;
        for (int lane = 0; lane < Lanes; lane += W.Lanes)
        {
            V a0 = default, a1 = default, b0 = default, b1 = default, c0 = default, c1 = default, d0 = default, d1 = default;
            for (nint i = lane; i < count; i += Lanes)
            {
                V first = W.Load(y0 + i), second = W.Load(y1 + i), from = W.Load(x0 + i);
                a0 = T.Add<W, V>(from, first, a0);
                a1 = T.Add<W, V>(from, second, a1);
                if (R.Value > 1)
                {
                    from = W.Load(x1 + i);
                    b0 = T.Add<W, V>(from, first, b0);
                    b1 = T.Add<W, V>(from, second, b1);
                }

                if (R.Value > 2)
                {
                    from = W.Load(x2 + i);
                    c0 = T.Add<W, V>(from, first, c0);
                    c1 = T.Add<W, V>(from, second, c1);
                }

                if (R.Value > 3)
                {
                    from = W.Load(x3 + i);
                    d0 = T.Add<W, V>(from, first, d0);
                    d1 = T.Add<W, V>(from, second, d1);
                }
            }

            double* to = lanes + lane;
            W.Store(a0, to);
            W.Store(a1, to + Lanes);
            if (R.Value > 1)
            {
                W.Store(b0, to + 2 * Lanes);
                W.Store(b1, to + 3 * Lanes);
            }

            if (R.Value > 2)
            {
                W.Store(c0, to + 4 * Lanes);
                W.Store(c1, to + 5 * Lanes);
            }

            if (R.Value > 3)
            {
                W.Store(d0, to + 6 * Lanes);
                W.Store(d1, to + 7 * Lanes);
            }
        }
    }
}
