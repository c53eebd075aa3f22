using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

/// <summary>
/// Eight float64 lanes in whatever registers there are. The kernels are written once in terms of these; since every operation acts on each lane as
/// IEEE 754 says, and <see cref="Sum"/> has one shape, the bits do not depend on the registers.
/// </summary>
internal unsafe interface ILanes<TSelf>
    where TSelf : unmanaged, ILanes<TSelf>
{
    /// <summary>All lanes the same.</summary>
    static abstract TSelf Broadcast(double value);

    /// <summary>The numbers 0 to 7.</summary>
    static abstract TSelf Indices { get; }

    static abstract TSelf Load(double* source);
    static abstract TSelf LoadSingle(float* source);
    static abstract TSelf LoadHalf(ushort* source);
    static abstract TSelf LoadBFloat16(ushort* source);

    static abstract void Store(TSelf value, double* target);

    /// <summary>Rounded to binary32, ties to even.</summary>
    static abstract Vector256<float> Narrow(TSelf value);

    static abstract TSelf Add(TSelf left, TSelf right);
    static abstract TSelf Subtract(TSelf left, TSelf right);
    static abstract TSelf Multiply(TSelf left, TSelf right);
    static abstract TSelf Divide(TSelf left, TSelf right);

    /// <summary>x * y + z, rounded once.</summary>
    static abstract TSelf FusedMultiplyAdd(TSelf x, TSelf y, TSelf z);

    /// <summary>The smaller; either where one is NaN.</summary>
    static abstract TSelf Minimum(TSelf left, TSelf right);

    /// <summary>The larger; either where one is NaN.</summary>
    static abstract TSelf Maximum(TSelf left, TSelf right);

    static abstract TSelf Abs(TSelf value);
    static abstract TSelf And(TSelf left, TSelf right);
    static abstract TSelf Or(TSelf left, TSelf right);

    /// <summary>All bits where left is less than right, none elsewhere; NaN is not less.</summary>
    static abstract TSelf LessThan(TSelf left, TSelf right);

    /// <summary>Bit j is set where lane j of left is less than lane j of right; NaN is not less.</summary>
    static abstract uint LessThanBits(TSelf left, TSelf right);

    /// <summary>Every NaN made the positive quiet NaN without payload.</summary>
    static abstract TSelf PlainNaN(TSelf value);

    /// <summary>((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)).</summary>
    static abstract double Sum(TSelf value);

    /// <summary>The smallest lane, none of them NaN.</summary>
    static abstract double Smallest(TSelf value);

    /// <summary>The largest lane, none of them NaN.</summary>
    static abstract double Largest(TSelf value);
}
