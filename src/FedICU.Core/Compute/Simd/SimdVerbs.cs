using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute.Simd;

/// <summary>
/// The verbs, written once for all registers. The work goes through tiles: runs of elements short enough that their float64 values stay in the first
/// cache, while each input is read from memory once.
/// </summary>
internal sealed unsafe partial class SimdVerbs<L> : IComputeBackend
    where L : unmanaged, ILanes<L>
{
    /// <summary>Kernels are compiled at once for speed: a round must not begin in the slow code of a first tier.</summary>
    private const MethodImplOptions Kernel = MethodImplOptions.AggressiveOptimization;

    private const int Lanes = 8;

    private const int RowsAbreast = PanelGeometry.RowsAbreast, PartColumns = PanelGeometry.ProjectionBlock, TileElements = RowsAbreast * PartColumns;

    /// <summary>
    /// Elements whose sums stay in the second cache, where nothing but inputs is fetched: longer runs of each of many inputs come faster than sums of the first cache save.
    /// </summary>
    private const int SumElements = 8192;

    /// <summary>Bytes by which a tile is longer, so that it can begin at a multiple of 64.</summary>
    private const int Slack = 64;

    /// <summary>Inputs whose squares are summed side by side.</summary>
    private const int Abreast = 4;

    /// <summary>Inputs that are read side by side, or a fourth as many of four rows each: the processor follows so many runs of memory at once.</summary>
    private const int MostAbreast = 12;

    public string Name => "simd";

    private static double* Align(byte* storage) => (double*)((nuint)(storage + Slack - 1) & ~(nuint)(Slack - 1));

    /// <summary>
    /// Eight elements that come from memory, in a kernel that walks through a panel: its runs of an input are too short for the processor to see them
    /// coming; and what the cache is asked for past a run's end is the beginning of the next.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Stream<E>(byte* source) where E : struct, IElement
    {
        if (Sse.IsSupported && E.Ahead > 0)
            Sse.Prefetch0(source + E.Ahead);
        return E.Load<L>(source);
    }

    /// <summary>Asks the cache for elements that come <see cref="IElement.Ahead"/> bytes later, a line of 64 bytes at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch<E>(byte* source, [ConstantExpected] int count) where E : struct, IElement
    {
        if (!Sse.IsSupported || E.Ahead == 0)
            return;
        for (int line = 0; line < count * E.Size; line += 64)
            Sse.Prefetch0(source + E.Ahead + line);
    }

    /// <summary>
    /// What of a panel is worked on at once: <see cref="RowsAbreast"/> rows where columns are groups, so that what belongs to a column is fetched once for
    /// all of them, else one row; as many columns as have their sums in a tile of <paramref name="elements"/>, whose rows are <see cref="PartColumns"/> apart.
    /// </summary>
    private readonly struct Part(PanelGeometry geometry, int row, int rows, int column, int elements = TileElements)
    {
        public readonly long Offset = (long)row * geometry.Columns + column;
        public readonly nint Step = geometry.Columns;
        public readonly int Rows = rows;
        public readonly int Count = Math.Min(geometry.Columns - column, elements / rows);
        public readonly int Group = geometry.GroupsAreColumns ? column : row;
        public readonly bool GroupsAreColumns = geometry.GroupsAreColumns;

        public static int RowsFrom(PanelGeometry geometry, int row) => geometry.GroupsAreColumns && geometry.Rows - row >= RowsAbreast ? RowsAbreast : 1;
    }

    /// <summary>How many inputs from k on are of one type.</summary>
    private static int SameType(ReadOnlySpan<TensorPanel> inputs, int k)
    {
        int count = 1;
        while (k + count < inputs.Length && inputs[k + count].DType == inputs[k].DType)
            count++;
        return count;
    }

    /// <summary>Up to four inputs of one type, at one place in each.</summary>
    private struct Inputs
    {
        public byte* X0, X1, X2, X3;
        public int Count;

        public readonly byte* this[int j] => j switch { 0 => X0, 1 => X1, 2 => X2, _ => X3 };
    }

    /// <summary>The inputs from k on that are of the type of input k, at most four.</summary>
    private static Inputs Take(ReadOnlySpan<TensorPanel> panels, int k, long offset, int size)
    {
        DType dtype = panels[k].DType;
        int count = 1;
        while (count < Abreast && k + count < panels.Length && panels[k + count].DType == dtype)
            count++;
        long bytes = offset * size;
        byte* At(ReadOnlySpan<TensorPanel> panels, int j) => (byte*)panels[k + Math.Min(j, count - 1)].Data + bytes;
        return new Inputs { X0 = At(panels, 0), X1 = At(panels, 1), X2 = At(panels, 2), X3 = At(panels, 3), Count = count };
    }

    public long CountNonFinite(TensorPanel input, int length) => input.DType switch
    {
        DType.F64 => CountNonFinite<F64>((byte*)input.Data, length),
        DType.F32 => CountNonFinite<F32>((byte*)input.Data, length),
        DType.F16 => CountNonFinite<F16>((byte*)input.Data, length),
        DType.BF16 => CountNonFinite<BF16>((byte*)input.Data, length),
        _ => throw Rounding.NotComputed(input.DType),
    };

    [MethodImpl(Kernel)]
    private static long CountNonFinite<E>(byte* input, int length) where E : struct, IElement
    {
        L infinity = L.Broadcast(double.PositiveInfinity);
        long finite = 0;
        nint i = 0;
        for (; i <= length - Lanes; i += Lanes)
            finite += uint.PopCount(L.LessThanBits(L.Abs(E.Load<L>(input + i * E.Size)), infinity));
        int rest = length - (int)i;
        if (rest > 0)
            finite += uint.PopCount(L.LessThanBits(L.Abs(Partial<L>.Load<E>(input + i * E.Size, rest)), infinity)) - (Lanes - rest);
        return length - finite;
    }
}
