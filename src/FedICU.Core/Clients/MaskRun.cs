using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Clients;

/// <summary>What is fixed for one update: the models, the rules, what computes; and how much of what is sent is kept between deciding and writing it.</summary>
internal sealed unsafe record MaskRun(
    FedIcuClientOptions Options, TensorSource Global, TensorSource Local, TensorSource? Momentum, TensorSink? MomentumOutput, bool Dense, IClientBackend Backend)
{
    /// <summary>Up to so many bytes, values that are sent are kept, so that the trained model is not read again for them.</summary>
    private const long KeptBytes = 64 << 20;

    private long _kept;

    /// <summary>Whether the models, and the momentum where there is one, lie on the backend's device.</summary>
    public bool OnDevice { get; } = Backend.Device is { } device && Global.Device == device && Local.Device == device
        && (Momentum is null || Momentum.Device == device && Momentum.Tensors.All(tensor => !tensor.DType.IsComputed || tensor.DType is DType.F32 or DType.F64));

    /// <summary>Whether the received tensors are hashed in the first look at them.</summary>
    public bool Hashes { get; set; }

    /// <summary>Whether every tensor is written whole, by what was asked for.</summary>
    public bool IsDense => Dense || Options.Mask == MaskRule.GaussianNoise || Options.Fill == MaskFill.Zero;

    /// <summary>Whether there is room for more.</summary>
    public bool Keeps => Interlocked.Read(ref _kept) < KeptBytes;

    /// <summary>A copy of values that are sent; null where there is no room for them.</summary>
    public NativeBuffer? Keep(byte* values, long bytes)
    {
        // once full, it stays so
        if (Interlocked.Add(ref _kept, bytes) > KeptBytes)
            return null;
        var kept = new NativeBuffer(bytes);
        NativeMemory.Copy(values, kept.Pointer, (nuint)bytes);
        return kept;
    }

    /// <summary>Gives back what was kept.</summary>
    public void Free(NativeBuffer? kept)
    {
        if (kept is null)
            return;
        Interlocked.Add(ref _kept, -kept.ByteLength);
        kept.Dispose();
    }

    /// <summary>A tensor's momentum: F32, or F64 for F64 tensors.</summary>
    public static TensorInfo MomentumInfo(TensorInfo tensor) => tensor with { DType = tensor.DType == DType.F64 ? DType.F64 : DType.F32 };
}
