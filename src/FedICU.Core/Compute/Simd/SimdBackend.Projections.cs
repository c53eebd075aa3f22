using System.Runtime.CompilerServices;
using FedICU.Compute.Reference;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddProjections.
public sealed unsafe partial class SimdBackend
{
    /// <inheritdoc/>
    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        ScalarMath.CheckSums(inputs.Length, dots.Length);
        switch (Width)
        {
            case 512: AddProjections<Lanes512>(inputs, geometry, a, b, dots); break;
            case 256: AddProjections<Lanes256>(inputs, geometry, a, b, dots); break;
            default: AddProjections<Lanes128>(inputs, geometry, a, b, dots); break;
        }
    }

    [SkipLocalsInit]
    private static void AddProjections<L>(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
        where L : unmanaged, ILanes<L>
    {
        byte* storage = stackalloc byte[TileElements * sizeof(double) + Slack];
        double* tile = Align(storage);
        for (int row = 0, rows; row < geometry.Rows; row += rows)
        {
            rows = Part.RowsFrom(geometry, row);
            for (int column = 0; column < geometry.Columns;)
            {
                var part = new Part(geometry, row, rows, column);
                CombineToTile<L>(inputs, b, part, tile);
                for (int k = 0; k < inputs.Length; k++)
                {
                    dots[k] += inputs[k].DType switch
                    {
                        DType.F64 => ProjectPart<L, F64>(inputs[k], a.Row(k), part, tile),
                        DType.F32 => ProjectPart<L, F32>(inputs[k], a.Row(k), part, tile),
                        DType.F16 => ProjectPart<L, F16>(inputs[k], a.Row(k), part, tile),
                        DType.BF16 => ProjectPart<L, BF16>(inputs[k], a.Row(k), part, tile),
                        DType other => throw Rounding.NotComputed(other),
                    };
                }

                column += part.Count;
            }
        }
    }

    private static double ProjectPart<L, E>(TensorPanel input, double* a, in Part part, double* tile)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        byte* x = (byte*)input.Data + part.Offset * E.Size;
        return part.GroupsAreColumns
            ? ProjectPart<L, E, ColumnCoefficients<L>>(x, a + part.Group, part, tile)
            : ProjectPart<L, E, RowCoefficient<L>>(x, a + part.Group, part, tile);
    }

    /// <summary>
    /// Computes a part's reduce8 of fma(a[i], p, lane), where p is the sum over the rows of x[r, i] * tile[r, i].
    /// </summary>
    [MethodImpl(Kernel)]
    private static double ProjectPart<L, E, C>(byte* x, double* a, in Part part, double* tile)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        C c = C.From(a);
        int count = part.Count;
        bool rows = part.Rows > 1;
        nint step = part.Step * E.Size;
        L sum = L.Broadcast(0);
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            byte* y = x + i * E.Size;
            double* t = tile + i;
            L product = L.Multiply(E.Load<L>(y), L.Load(t));
            if (rows)
            {
                product = L.FusedMultiplyAdd(E.Load<L>(y + step), L.Load(t + TileColumns), product);
                product = L.FusedMultiplyAdd(E.Load<L>(y + 2 * step), L.Load(t + 2 * TileColumns), product);
                product = L.FusedMultiplyAdd(E.Load<L>(y + 3 * step), L.Load(t + 3 * TileColumns), product);
            }

            sum = L.FusedMultiplyAdd(c.At(i), product, sum);
        }

        return L.Sum(i < count ? ProjectRest<L, E, C>(x + i * E.Size, a, part, tile, i, count - (int)i, sum) : sum);
    }

    /// <summary>
    /// Does the same for the last elements. Lanes past the end add 0 * 0: an infinite coefficient times 0 would be NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static L ProjectRest<L, E, C>(byte* x, double* a, in Part part, double* tile, nint i, int rest, L sum)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        L product = L.Broadcast(-0.0);
        for (int row = 0; row < part.Rows; row++)
        {
            L y = Partial<L>.Load<E>(x + row * part.Step * E.Size, rest);
            product = L.FusedMultiplyAdd(y, L.Load(tile + row * TileColumns + i), product);
        }

        return L.FusedMultiplyAdd(Partial<L>.First(C.From(a).Rest(i, rest), rest), Partial<L>.First(product, rest), sum);
    }
}
