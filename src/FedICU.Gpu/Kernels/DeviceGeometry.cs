namespace FedICU.Gpu.Kernels;

/// <summary>The rows and columns of a chunk.</summary>
internal struct DeviceGeometry
{
    public long Rows, Columns;

    /// <summary>
    /// -0, the start value of sums: adding a product to it leaves the product's bits unchanged, its sign included. The
    /// host passes this value, because a constant -0 in a kernel loses its sign when it is compiled for OpenCL.
    /// </summary>
    public double NegativeZero;
}
