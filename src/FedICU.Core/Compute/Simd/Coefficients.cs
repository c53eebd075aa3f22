using System.Runtime.CompilerServices;

namespace FedICU.Compute.Simd;

/// <summary>The coefficients that the elements of one input are multiplied by.</summary>
internal unsafe interface ICoefficients<TSelf, L>
    where TSelf : struct, ICoefficients<TSelf, L>
    where L : unmanaged, ILanes<L>
{
    /// <summary>Creates the coefficients from the address of the first element's one.</summary>
    static abstract TSelf From(double* first);

    /// <summary>Returns the coefficients of elements i to i + 7.</summary>
    L At(nint i);

    /// <summary>Returns the coefficients of elements i to i + count - 1; the lanes after them are undefined.</summary>
    L Rest(nint i, int count);
}

/// <summary>One coefficient for all elements of a row.</summary>
internal readonly unsafe struct RowCoefficient<L> : ICoefficients<RowCoefficient<L>, L>
    where L : unmanaged, ILanes<L>
{
    private readonly L _value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private RowCoefficient(L value) => _value = value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static RowCoefficient<L> From(double* first) => new(L.Broadcast(*first));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L At(nint i) => _value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L Rest(nint i, int count) => _value;
}

/// <summary>One coefficient for each column.</summary>
internal readonly unsafe struct ColumnCoefficients<L> : ICoefficients<ColumnCoefficients<L>, L>
    where L : unmanaged, ILanes<L>
{
    private readonly double* _first;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ColumnCoefficients(double* first) => _first = first;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ColumnCoefficients<L> From(double* first) => new(first);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L At(nint i) => L.Load(_first + i);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L Rest(nint i, int count) => Partial<L>.Load<F64>((byte*)(_first + i), count);
}
