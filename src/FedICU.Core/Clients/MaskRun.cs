using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Clients;

/// <summary>
/// What is fixed for one update: the models, the options and the backend. Also limits how many packed values are kept
/// in memory between deciding and writing the masks.
/// </summary>
internal sealed unsafe record MaskRun(
    FedIcuClientOptions Options, TensorSource Global, TensorSource Local, TensorSource? Momentum, TensorSink? MomentumOutput, bool Dense,
    IClientBackend Backend) : IDisposable
{
    // bytes of packed values that are kept, so that the trained model is not read again for them (chosen)
    private const long KeptBytes = 64 << 20;

    // A single buffer, as thousands of small ones would be faulted in page by page.
    private readonly Lazy<NativeBuffer> _memory = new(() => new(Math.Min(KeptBytes, Local.Tensors.Sum(tensor => tensor.ByteLength))));
    private long _used;

    /// <summary>
    /// Gets whether the models, and the momentum if there is one, are in the memory of the backend's device.
    /// </summary>
    public bool OnDevice { get; } = Backend.Device is { } device && Global.Device == device && Local.Device == device
        && (Momentum is null || Momentum.Device == device
            && Momentum.Tensors.All(tensor => !tensor.DType.IsComputed || tensor.DType is DType.F32 or DType.F64));

    /// <summary>Gets whether masks are decided on the device. The noise's deviation is measured on the CPU.</summary>
    public bool DecidesOnDevice => OnDevice && Options.Mask != MaskRule.GaussianNoise;

    /// <summary>Gets whether values are packed on the device. A soft mask's values are computed on the CPU.</summary>
    public bool PacksOnDevice => OnDevice && Options.Mask != MaskRule.Soft;

    /// <summary>Gets or sets whether the first pass hashes the received tensors.</summary>
    public bool Hashes { get; set; }

    /// <summary>Gets whether the options ask for every tensor to be written whole.</summary>
    public bool IsDense => Dense || Options.Mask == MaskRule.GaussianNoise || Options.Fill == MaskFill.Zero;

    /// <summary>Gets whether there is room to keep more values.</summary>
    public bool HasRoom => Interlocked.Read(ref _used) < KeptBytes;

    /// <summary>
    /// Copies values to keep them until the update is written. Returns null if there is no room. Once full, the room
    /// stays full.
    /// </summary>
    public byte* TryKeep(byte* values, long bytes)
    {
        long end = Interlocked.Add(ref _used, NativeBuffer.Align(bytes));
        if (end > _memory.Value.ByteLength)
            return null;
        byte* kept = _memory.Value.Pointer + end - NativeBuffer.Align(bytes);
        NativeMemory.Copy(values, kept, (nuint)bytes);
        return kept;
    }

    public void Dispose()
    {
        if (_memory.IsValueCreated)
            _memory.Value.Dispose();
    }

    /// <summary>Returns a tensor's momentum: F32, or F64 for an F64 tensor.</summary>
    public static TensorInfo MomentumInfo(TensorInfo tensor) =>
        tensor with { DType = tensor.DType == DType.F64 ? DType.F64 : DType.F32 };
}
