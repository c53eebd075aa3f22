using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddSquares.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Inputs whose squares are summed side by side. Chosen: four sums hide the latency of a fused multiply-add.
    /// </summary>
    private const int SquaredInputs = 4;

    /// <inheritdoc/>
    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        switch (Width)
        {
            case 512: AddSquares<Lanes512>(inputs, geometry, sums); break;
            case 256: AddSquares<Lanes256>(inputs, geometry, sums); break;
            default: AddSquares<Lanes128>(inputs, geometry, sums); break;
        }
    }

    private static void AddSquares<L>(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
        where L : unmanaged, ILanes<L>
    {
        for (int k = 0; k < inputs.Length;)
        {
            k += inputs[k].DType switch
            {
                DType.F64 => AddSquares<L, F64>(inputs, k, geometry, sums),
                DType.F32 => AddSquares<L, F32>(inputs, k, geometry, sums),
                DType.F16 => AddSquares<L, F16>(inputs, k, geometry, sums),
                DType.BF16 => AddSquares<L, BF16>(inputs, k, geometry, sums),
                DType other => throw Rounding.NotComputed(other),
            };
        }
    }

    /// <summary>
    /// Adds the squares of input k, and of those after it that are summed side by side with it; returns how many
    /// inputs.
    /// </summary>
    private static int AddSquares<L, E>(ReadOnlySpan<TensorPanel> inputs, int k, PanelGeometry geometry, GroupValues sums)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        if (geometry.GroupsAreColumns)
        {
            nint bytes = (nint)geometry.Columns * E.Size;
            for (int row = 0; row < geometry.Rows; row += TileRows)
            {
                int rows = Math.Min(TileRows, geometry.Rows - row);
                SquareRows<L, E>((byte*)inputs[k].Data + row * bytes, bytes, rows, sums.Row(k), geometry.Columns);
            }

            return 1;
        }

        Inputs some = TakeSameType(inputs, k);
        SquareGroups<L, E>(some, geometry.Rows, geometry.Columns, sums.Row(k), sums.Stride);
        return some.Count;
    }

    /// <summary>Computes sums[c] = fma(x, x, sums[c]) for up to four rows, in their order.</summary>
    [MethodImpl(Kernel)]
    private static void SquareRows<L, E>(byte* x, nint rowBytes, int rows, double* sums, int columns)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        byte* x1 = x + (rows > 1 ? rowBytes : 0), x2 = x + (rows > 2 ? 2 * rowBytes : 0), x3 = x + (rows > 3 ? 3 * rowBytes : 0);
        nint i = 0;
        for (; i <= columns - Lanes; i += Lanes)
        {
            L y = LoadAndPrefetch<L, E>(x + i * E.Size);
            L sum = L.FusedMultiplyAdd(y, y, L.Load(sums + i));
            if (rows > 1)
            {
                y = LoadAndPrefetch<L, E>(x1 + i * E.Size);
                sum = L.FusedMultiplyAdd(y, y, sum);
            }

            if (rows > 2)
            {
                y = LoadAndPrefetch<L, E>(x2 + i * E.Size);
                sum = L.FusedMultiplyAdd(y, y, sum);
            }

            if (rows > 3)
            {
                y = LoadAndPrefetch<L, E>(x3 + i * E.Size);
                sum = L.FusedMultiplyAdd(y, y, sum);
            }

            L.Store(sum, sums + i);
        }

        if (i < columns)
            SquareRowsRest<L, E>(x + i * E.Size, rowBytes, rows, sums + i, columns - (int)i);
    }

    /// <summary>Does the same for the last columns, fewer than eight.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void SquareRowsRest<L, E>(byte* x, nint rowBytes, int rows, double* sums, int rest)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L sum = Partial<L>.Load<F64>((byte*)sums, rest);
        for (int row = 0; row < rows; row++)
        {
            L y = Partial<L>.Load<E>(x + row * rowBytes, rest);
            sum = L.FusedMultiplyAdd(y, y, sum);
        }

        Partial<L>.Store<F64>(sum, (byte*)sums, rest);
    }

    /// <summary>Computes sums[k * stride + r] += reduce8 of the squares of row r, for up to four inputs.</summary>
    [MethodImpl(Kernel)]
    private static void SquareGroups<L, E>(Inputs inputs, int rows, int columns, double* sums, long stride)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        int m = inputs.Count;
        byte* x0 = inputs.X0, x1 = inputs.X1, x2 = inputs.X2, x3 = inputs.X3;
        nint bytes = (nint)columns * E.Size;
        for (int row = 0; row < rows; row++)
        {
            L s0 = L.Broadcast(0), s1 = s0, s2 = s0, s3 = s0;
            nint i = 0;
            for (; i <= columns - Lanes; i += Lanes)
            {
                L y = LoadAndPrefetch<L, E>(x0 + i * E.Size);
                s0 = L.FusedMultiplyAdd(y, y, s0);
                if (m > 1)
                {
                    y = LoadAndPrefetch<L, E>(x1 + i * E.Size);
                    s1 = L.FusedMultiplyAdd(y, y, s1);
                }

                if (m > 2)
                {
                    y = LoadAndPrefetch<L, E>(x2 + i * E.Size);
                    s2 = L.FusedMultiplyAdd(y, y, s2);
                }

                if (m > 3)
                {
                    y = LoadAndPrefetch<L, E>(x3 + i * E.Size);
                    s3 = L.FusedMultiplyAdd(y, y, s3);
                }
            }

            var lanes = new FourSums<L> { A = s0, B = s1, C = s2, D = s3 };
            if (i < columns)
                SquareGroupsRest<L, E>(inputs, row * bytes + i * E.Size, columns - (int)i, (L*)&lanes);
            lanes.AddTo(sums + row, stride, m);
            x0 += bytes;
            x1 += bytes;
            x2 += bytes;
            x3 += bytes;
        }
    }

    /// <summary>Does the same for the last elements of a row, fewer than eight.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void SquareGroupsRest<L, E>(Inputs inputs, nint offset, int rest, L* lanes)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        for (int j = 0; j < inputs.Count; j++)
        {
            L y = Partial<L>.Load<E>(inputs[j] + offset, rest);
            lanes[j] = L.FusedMultiplyAdd(y, y, lanes[j]);
        }
    }

    /// <summary>The sums of up to four inputs, eight lanes each, in memory.</summary>
    private struct FourSums<L>
        where L : unmanaged, ILanes<L>
    {
        public L A, B, C, D;

        public readonly void AddTo(double* sums, long stride, int count)
        {
            *sums += L.Sum(A);
            if (count > 1)
                sums[stride] += L.Sum(B);
            if (count > 2)
                sums[2 * stride] += L.Sum(C);
            if (count > 3)
                sums[3 * stride] += L.Sum(D);
        }
    }

    /// <summary>The addresses of up to four inputs of one type.</summary>
    private struct Inputs
    {
        public byte* X0, X1, X2, X3;
        public int Count;

        public readonly byte* this[int j] => j switch { 0 => X0, 1 => X1, 2 => X2, _ => X3 };
    }

    /// <summary>Takes the inputs from k on that are of the type of input k, at most four.</summary>
    private static Inputs TakeSameType(ReadOnlySpan<TensorPanel> panels, int k)
    {
        int count = Math.Min(CountSameType(panels, k), SquaredInputs);
        // missing inputs repeat the last one
        byte* At(ReadOnlySpan<TensorPanel> panels, int j) => (byte*)panels[k + Math.Min(j, count - 1)].Data;
        return new Inputs { X0 = At(panels, 0), X1 = At(panels, 1), X2 = At(panels, 2), X3 = At(panels, 3), Count = count };
    }
}
