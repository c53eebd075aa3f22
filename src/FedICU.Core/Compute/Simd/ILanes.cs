using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

/// <summary>
/// Eight float64 lanes in the registers there are. Kernels are written once in terms of these. As every operation acts
/// on each lane as IEEE 754 says, and <see cref="Sum"/> has one shape, the bits do not depend on the registers.
/// </summary>
internal unsafe interface ILanes<TSelf>
    where TSelf : unmanaged, ILanes<TSelf>
{
    /// <summary>Sets all lanes to one value.</summary>
    static abstract TSelf Broadcast(double value);

    /// <summary>Gets the numbers 0 to 7.</summary>
    static abstract TSelf Indices { get; }

    static abstract TSelf Load(double* source);
    static abstract TSelf LoadSingle(float* source);
    static abstract TSelf LoadHalf(ushort* source);
    static abstract TSelf LoadBFloat16(ushort* source);

    static abstract void Store(TSelf value, double* target);

    /// <summary>Rounds to binary32, ties to even.</summary>
    static abstract Vector256<float> Narrow(TSelf value);

    static abstract TSelf Add(TSelf left, TSelf right);
    static abstract TSelf Subtract(TSelf left, TSelf right);
    static abstract TSelf Multiply(TSelf left, TSelf right);
    static abstract TSelf Divide(TSelf left, TSelf right);

    static abstract TSelf Sqrt(TSelf value);

    /// <summary>Computes x * y + z, rounded once.</summary>
    static abstract TSelf FusedMultiplyAdd(TSelf x, TSelf y, TSelf z);

    /// <summary>Returns the smaller value; either if one is NaN.</summary>
    static abstract TSelf Minimum(TSelf left, TSelf right);

    /// <summary>Returns the larger value; either if one is NaN.</summary>
    static abstract TSelf Maximum(TSelf left, TSelf right);

    static abstract TSelf Abs(TSelf value);
    static abstract TSelf And(TSelf left, TSelf right);
    static abstract TSelf Or(TSelf left, TSelf right);

    /// <summary>Sets all bits of a lane if left is less than right, otherwise none; NaN is not less.</summary>
    static abstract TSelf LessThan(TSelf left, TSelf right);

    /// <summary>
    /// Returns a mask whose bit j is set if lane j of left is less than lane j of right; NaN is not less.
    /// </summary>
    static abstract uint LessThanBits(TSelf left, TSelf right);

    /// <summary>Takes lanes of the first value where the mask's bits are set, otherwise of the second.</summary>
    static abstract TSelf Select(TSelf mask, TSelf first, TSelf second);

    /// <summary>
    /// Computes sum + value where left is less than right, otherwise sum. NaN is not less. Unlike a comparison, an
    /// addition and <see cref="Select"/>, this stays in the CPU's mask registers.
    /// </summary>
    static abstract TSelf AddWhereLess(TSelf left, TSelf right, TSelf value, TSelf sum);

    /// <summary>Computes x * y + sum, rounded once, where left is less than right, otherwise sum.</summary>
    static abstract TSelf MultiplyAddWhereLess(TSelf left, TSelf right, TSelf x, TSelf y, TSelf sum);

    /// <summary>
    /// Stores the lanes whose bits the mask has, next to each other. Up to eight elements of the target may change.
    /// </summary>
    /// <returns>The number of lanes that were stored.</returns>
    static abstract int StoreWhere(TSelf mask, TSelf value, double* target);

    /// <summary>Replaces every NaN by the positive quiet NaN without payload.</summary>
    static abstract TSelf PlainNaN(TSelf value);

    /// <summary>Computes ((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)).</summary>
    static abstract double Sum(TSelf value);

    /// <summary>Returns the smallest lane; none may be NaN.</summary>
    static abstract double Smallest(TSelf value);

    /// <summary>Returns the largest lane; none may be NaN.</summary>
    static abstract double Largest(TSelf value);
}
