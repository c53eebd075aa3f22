using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

/// <summary>The operations of the kernels of pairs on V, the vector that holds a sum.</summary>
internal unsafe interface IGramVector<V>
    where V : unmanaged
{
    /// <summary>Gets the lanes of a vector.</summary>
    static abstract int Lanes { get; }

    /// <summary>Loads elements of a tile, which are float64 or float32.</summary>
    static abstract V LoadElements<T>(byte* source) where T : struct, IElement;

    static abstract V Load(double* source);
    static abstract void Store(V value, double* target);

    static abstract V Subtract(V left, V right);

    /// <summary>Computes x * y + z, rounded once.</summary>
    static abstract V FusedMultiplyAdd(V x, V y, V z);
}

/// <summary>Eight lanes, in as many registers as they take.</summary>
internal readonly unsafe struct EightLanes<L> : IGramVector<L>
    where L : unmanaged, ILanes<L>
{
    public static int Lanes => 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L LoadElements<T>(byte* source) where T : struct, IElement => T.Load<L>(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load(double* source) => L.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(L value, double* target) => L.Store(value, target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Subtract(L left, L right) => L.Subtract(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L FusedMultiplyAdd(L x, L y, L z) => L.FusedMultiplyAdd(x, y, z);
}

/// <summary>
/// Four lanes in one register of 256 bits, of tiles of float64: eight would take twice the registers for each sum.
/// </summary>
internal readonly unsafe struct FourLanes : IGramVector<Vector256<double>>
{
    public static int Lanes => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> LoadElements<T>(byte* source) where T : struct, IElement => Vector256.Load((double*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> Load(double* source) => Vector256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<double> value, double* target) => value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> Subtract(Vector256<double> left, Vector256<double> right) => left - right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> FusedMultiplyAdd(Vector256<double> x, Vector256<double> y, Vector256<double> z) =>
        Vector256.FusedMultiplyAdd(x, y, z);
}
