using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

/// <summary>
/// Computes the verbs in vector registers of 512, 256 or 128 bits, the widest that the CPU has. All widths give the
/// same bits, and so does the software that replaces an instruction the CPU lacks. A verb runs on the calling thread
/// only.
/// </summary>
public sealed unsafe partial class SimdBackend : IClientBackend
{
    // Each verb family has a file of its own. It holds the public verb, which selects the registers, and the kernels,
    // which are written once for all registers (ILanes). Most kernels work on tiles: runs of elements so short that
    // their float64 values stay in the L1 cache. Each input is still read from memory once.

    /// <summary>
    /// Compiles kernels fully optimized at once: a round must not begin in the slow code of the JIT's first tier.
    /// </summary>
    private const MethodImplOptions Kernel = MethodImplOptions.AggressiveOptimization;

    /// <summary>Elements that an <see cref="ILanes{TSelf}"/> holds.</summary>
    private const int Lanes = 8;

    /// <summary>Rows of a tile if columns are groups. Part of the fixed reduction shape.</summary>
    private const int TileRows = PanelGeometry.RowsPerBlock;

    /// <summary>
    /// Columns of such a tile, and the distance of its rows in elements. Part of the fixed reduction shape.
    /// </summary>
    private const int TileColumns = PanelGeometry.ProjectionBlock;

    /// <summary>Elements of a tile: 8 KiB of float64.</summary>
    private const int TileElements = TileRows * TileColumns;

    /// <summary>
    /// Bytes by which a tile's storage is longer than the tile, so that the tile can begin at a multiple of 64.
    /// </summary>
    private const int Slack = 64;

    /// <summary>
    /// Memory streams that a kernel reads side by side. Measured: the CPU's prefetchers follow this many
    /// (docs/adr/0008).
    /// </summary>
    private const int MaxStreams = 12;

    private readonly int _width;

    /// <summary>Uses the widest registers that the CPU has.</summary>
    public SimdBackend() : this(WidestRegisters)
    {
    }

    /// <summary>Uses registers of a given width, which are emulated if the CPU lacks them.</summary>
    /// <param name="width">Bits of a register: 128, 256 or 512.</param>
    internal SimdBackend(int width)
    {
        if (width is not (128 or 256 or 512))
            throw new ArgumentOutOfRangeException(nameof(width), width, "128, 256 or 512");
        _width = width;
    }

    /// <summary>
    /// The bits of the registers that are used. In machine code made ahead of time the widest are known to the
    /// compiler, which then leaves out the kernels of all others: half a megabyte.
    /// </summary>
    private int Width
    {
        // inlined, or callers would not see a constant
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => RuntimeFeature.IsDynamicCodeSupported ? _width : WidestRegisters;
    }

    /// <summary>Gets the bits of the widest registers that the CPU has.</summary>
    internal static int WidestRegisters
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
    }

    /// <inheritdoc/>
    public string Name => "simd";

    /// <summary>Whether there are sixteen registers, not thirty-two.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool HasFewRegisters<L>()
        where L : unmanaged, ILanes<L> => typeof(L) == typeof(Lanes256);

    /// <summary>Returns the first multiple of 64 in a storage that has <see cref="Slack"/> bytes to spare.</summary>
    private static double* Align(byte* storage) => (double*)((nuint)(storage + Slack - 1) & ~(nuint)(Slack - 1));

    /// <summary>
    /// Loads eight elements and prefetches those <see cref="IElement.PrefetchDistance"/> bytes later. For kernels that
    /// walk through a panel: their runs of one input are too short for the hardware prefetcher, and the bytes after a
    /// run are the start of the next one.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L LoadAndPrefetch<L, E>(byte* source)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        if (Sse.IsSupported && E.PrefetchDistance > 0)
            Sse.Prefetch0(source + E.PrefetchDistance);
        return E.Load<L>(source);
    }

    /// <summary>
    /// Prefetches elements that come <see cref="IElement.PrefetchDistance"/> bytes later, one cache line of 64 bytes at
    /// a time.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch<E>(byte* source, [ConstantExpected] int count) where E : struct, IElement
    {
        if (!Sse.IsSupported || E.PrefetchDistance == 0)
            return;
        for (int line = 0; line < count * E.Size; line += 64)
            Sse.Prefetch0(source + E.PrefetchDistance + line);
    }

    /// <summary>
    /// The part of a panel that is worked on at once. If columns are groups and <see cref="TileRows"/> rows are left,
    /// it has that many rows, so that the values of a column are loaded once for all of them; otherwise it has one row.
    /// Its columns fit a tile of <paramref name="elements"/>, whose rows begin every <see cref="TileColumns"/>
    /// elements.
    /// </summary>
    private readonly struct Part(PanelGeometry geometry, int row, int rows, int column, int elements = TileElements)
    {
        public readonly long Offset = (long)row * geometry.Columns + column;
        public readonly nint Step = geometry.Columns;
        public readonly int Rows = rows;
        public readonly int Count = Math.Min(geometry.Columns - column, elements / rows);
        public readonly int Group = geometry.GroupsAreColumns ? column : row;
        public readonly bool GroupsAreColumns = geometry.GroupsAreColumns;

        /// <summary>Returns how many rows the part that begins at a row has.</summary>
        public static int RowsFrom(PanelGeometry geometry, int row) =>
            geometry.GroupsAreColumns && geometry.Rows - row >= TileRows ? TileRows : 1;
    }
}
