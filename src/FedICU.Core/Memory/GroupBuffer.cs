namespace FedICU.Memory;

/// <summary>N x groups values in float64: of each input and group of a tensor, a norm or a coefficient. The object goes back to its pool with its memory.</summary>
internal sealed unsafe class GroupBuffer : NativeBuffer
{
    private readonly NativePool? _pool;

    /// <summary>Memory of a pool; null for what is too large to be kept.</summary>
    public GroupBuffer(long capacity, NativePool? pool)
        // a pool's memory is given back by the steps that took it; what a caller holds may be left to the collector
        : base(capacity, pressure: pool is null) => _pool = pool;

    public int Inputs { get; private set; }

    public long Groups { get; private set; }

    /// <summary>The first value; input k's values start at <c>Data + k * Groups</c>.</summary>
    public double* Data => (double*)Pointer;

    /// <summary>Whether it is in use.</summary>
    public bool IsLent { get; private set; }

    /// <summary>The next of those that the pool keeps.</summary>
    public GroupBuffer? Next { get; private set; }

    public Span<double> this[int input] => new(Data + input * Groups, checked((int)Groups));

    public void BeLent(int inputs, long groups) => (Inputs, Groups, Next, IsLent) = (inputs, groups, null, true);

    public void BeKept(GroupBuffer? next) => (Next, IsLent) = (next, false);

    protected override bool TryKeep() => _pool?.TryKeep(this) == true;
}
