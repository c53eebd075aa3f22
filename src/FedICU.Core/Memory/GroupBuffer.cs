namespace FedICU.Memory;

/// <summary>
/// A float64 matrix with one value for each input and each group of a tensor, such as a norm or a coefficient. The
/// object returns to its pool together with its memory.
/// </summary>
internal sealed unsafe class GroupBuffer : NativeBuffer
{
    private readonly NativePool? _pool;

    /// <summary>Creates a buffer of a pool; the pool is null for a buffer that is too large to be kept.</summary>
    public GroupBuffer(long capacity, NativePool? pool)
        // The round's steps return pooled memory themselves. A buffer without a pool may be left to the garbage
        // collector.
        : base(capacity, pressure: pool is null) => _pool = pool;

    public int Inputs { get; private set; }

    public long Groups { get; private set; }

    /// <summary>Gets the address of the first value. The values of input k start at <c>Data + k * Groups</c>.</summary>
    public double* Data => (double*)Pointer;

    /// <summary>Gets whether the buffer is in use.</summary>
    public bool IsLent { get; private set; }

    /// <summary>Gets the next buffer in the pool's list.</summary>
    public GroupBuffer? Next { get; private set; }

    public Span<double> this[int input] => new(Data + input * Groups, checked((int)Groups));

    public void MarkLent(int inputs, long groups) => (Inputs, Groups, Next, IsLent) = (inputs, groups, null, true);

    public void MarkKept(GroupBuffer? next) => (Next, IsLent) = (next, false);

    protected override bool TryKeep() => _pool?.TryKeep(this) == true;
}
