namespace FedICU.Gpu.Kernels;

/// <summary>
/// The sizes that decide the order in which sums are added, and so their bits. All are chosen. They do not depend on
/// the device, so the same inputs give the same bits on every run.
/// </summary>
internal static class ReductionShape
{
    /// <summary>Rows of a column that one thread adds.</summary>
    public const int RowsPerThread = 64;

    /// <summary>
    /// Rows that one thread processes in one step, with a variable for each; the kernels are unrolled for this number.
    /// </summary>
    public const int RowsPerStep = 4;

    /// <summary>Partial sums that one thread adds in a step of a tree.</summary>
    public const int FoldWidth = 64;

    /// <summary>The largest number of partial sums of one row.</summary>
    public const int MaxPartsPerRow = 8192;

    /// <summary>The number of threads that the rows of a chunk share, between the limits above.</summary>
    public const int ThreadsForRows = 1 << 16;

    /// <summary>The largest number of partial sums of one scalar.</summary>
    public const int MaxPartialSums = 1 << 16;
}
