namespace FedICU.Gpu;

/// <summary>How devices are programmed.</summary>
public enum GpuKind
{
    /// <summary>NVIDIA's driver.</summary>
    Cuda,
    /// <summary>An OpenCL driver of version 2 or later, with its generic address space.</summary>
    OpenCl,
}

/// <summary>Which device is used, and how.</summary>
public sealed record GpuOptions
{
    internal const long LeastChunkBytes = 64 << 10, MostChunkBytes = 1 << 30;

    /// <summary>The number of the device among those of its kind. <value>Default: null, the one with the most free memory.</value></summary>
    public int? Device { get; init; }

    /// <summary>
    /// Bytes of inputs that go to the device at once; of each of the two chunks that a verb has under way, as much is page-locked on the host and taken on the device.
    /// <value>Default: 32 MiB; from 64 KiB to 1 GiB.</value>
    /// </summary>
    public long ChunkBytes { get; init => field = value is >= LeastChunkBytes and <= MostChunkBytes ? value : throw new ArgumentOutOfRangeException(nameof(value), value, "64 KiB to 1 GiB"); } = 32 << 20;

    /// <summary>
    /// A verb whose inputs have fewer bytes, each, is computed on the processor: what the device takes to be started, and the way there and back, would cost more (docs/gpu.md).
    /// <value>Default: 128 KiB.</value>
    /// </summary>
    public long LeastBytes { get; init; } = 128 << 10;

    /// <summary>
    /// What is known to read fewer bytes in all is computed on the processor by <see cref="ComputeBackends.Best"/>: no device is started, as its check takes seconds (docs/gpu.md).
    /// <value>Default: 16 GiB.</value>
    /// </summary>
    public long LeastWorkBytes { get; init; } = 16L << 30;

    /// <summary>
    /// Whether the processor does the work of a device that is not there, is refused or fails, with a warning; otherwise it ends in a <see cref="GpuException"/>.
    /// <value>Default: true.</value>
    /// </summary>
    public bool Fallback { get; init; } = true;

    /// <summary>Is told, in a sentence, which device is not used or no longer used, and why. <value>Default: null, nobody is.</value></summary>
    public Action<string>? Warning { get; init; }
}

/// <summary>A device is not there, was refused, or failed, and nothing else may do its work. The message is one sentence that names it.</summary>
public sealed class GpuException : FedIcuException
{
    /// <summary>Makes one.</summary>
    public GpuException(string message) : base(message)
    {
    }

    /// <summary>Makes one of what the device or its driver said.</summary>
    public GpuException(string message, Exception cause) : base(message, cause)
    {
    }
}
