namespace FedICU.Compute;

/// <summary>The address and type of contiguous elements. Their number is an argument of the verb.</summary>
/// <param name="data">The address of the first element; null for a panel that is left out.</param>
/// <param name="dtype">f64, f32, f16 or bf16.</param>
/// <param name="onDevice">Whether the address is in the memory of the backend's device, not of the host.</param>
public readonly unsafe struct TensorPanel(void* data, DType dtype, bool onDevice = false)
{
    /// <summary>Gets the address of the first element; null for a panel that is left out.</summary>
    public void* Data { get; } = data;

    /// <summary>Gets the type of the elements.</summary>
    public DType DType { get; } = dtype;

    /// <summary>
    /// Gets whether the address is in the memory of <see cref="IComputeBackend.Device"/>, not of the host.
    /// </summary>
    public bool OnDevice { get; } = onDevice;
}
