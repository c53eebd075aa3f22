using FedICU.Compute;

namespace FedICU.Panels;

/// <summary>
/// A combination of a tensor's inputs in float64, before it is scaled and rounded: in memory, or on the device of the
/// inputs.
/// </summary>
internal readonly unsafe struct Unrounded(IDisposable memory, void* values, bool onDevice) : IDisposable
{
    public bool OnDevice => onDevice;

    /// <summary>Gets the values from element <paramref name="start"/> on.</summary>
    public TensorPanel From(long start) => new((double*)values + start, DType.F64, onDevice);

    public void Dispose() => memory.Dispose();
}
