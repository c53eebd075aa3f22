namespace FedICU.Compute;

/// <summary>The address and type of a contiguous run of elements. Its length is the verb's argument.</summary>
/// <param name="data">The first element; null for a panel that is left out.</param>
/// <param name="dtype">f64, f32, f16 or bf16.</param>
/// <param name="onDevice">Whether the address is one of the backend's device, not of host memory.</param>
public readonly unsafe struct TensorPanel(void* data, DType dtype, bool onDevice = false)
{
    /// <summary>The first element; null for a panel that is left out.</summary>
    public void* Data { get; } = data;

    /// <summary>The type of the elements.</summary>
    public DType DType { get; } = dtype;

    /// <summary>Whether the address is one of <see cref="IComputeBackend.Device"/>, not of host memory.</summary>
    public bool OnDevice { get; } = onDevice;
}
