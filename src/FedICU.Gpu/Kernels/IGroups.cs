namespace FedICU.Gpu.Kernels;

/// <summary>
/// States whether rows or columns are the groups. The value of input k and group g is at k * groups + g. This is a type
/// and not a flag, so that the compiler knows it: where columns are groups, a kernel reads a value once for all rows.
/// </summary>
internal interface IGroups
{
    static abstract bool AreRows { get; }
}

internal struct ByColumn : IGroups
{
    public static bool AreRows => false;
}

internal struct ByRow : IGroups
{
    public static bool AreRows => true;
}
