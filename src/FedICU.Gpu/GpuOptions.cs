namespace FedICU.Gpu;

/// <summary>Which device is used, for which work, and what happens if it fails.</summary>
public sealed record GpuOptions
{
    // Bytes; chosen.
    internal const long MinChunkBytes = 64 << 10;

    // Bytes; chosen.
    internal const long MaxChunkBytes = 1 << 30;

    /// <summary>
    /// Gets the number of the device among those of its kind, from 0.
    /// <value>Default: null, the device with the most free memory.</value>
    /// </summary>
    public int? Device { get; init; }

    /// <summary>
    /// Gets the bytes of inputs that go to the device at once. A verb has two such chunks in progress. Each takes as
    /// much page-locked memory on the host and as much memory on the device.
    /// <value>Default: 32 MiB; from 64 KiB to 1 GiB.</value>
    /// </summary>
    public long ChunkBytes
    {
        get;
        init => field = value is >= MinChunkBytes and <= MaxChunkBytes
            ? value
            : throw new ArgumentOutOfRangeException(nameof(value), value, "64 KiB to 1 GiB");
    } = 32 << 20;

    /// <summary>
    /// Gets the smallest size of an input, in bytes, for which a verb goes to the device. The CPU computes verbs with
    /// smaller inputs: starting the device and copying to it and back would take longer (docs/gpu.md).
    /// <value>Default: 128 KiB.</value>
    /// </summary>
    public long LeastBytes { get; init; } = 128 << 10;

    /// <summary>
    /// Gets the smallest amount of work, in bytes, for which <see cref="ComputeBackends.Best"/> starts a device. The
    /// CPU does less work than that, because the check of a device takes seconds (docs/gpu.md).
    /// <value>Default: 16 GiB.</value>
    /// </summary>
    public long LeastWorkBytes { get; init; } = 16L << 30;

    /// <summary>
    /// Gets whether the CPU does the work, with a warning, if a device is not found, refused or fails. If false, a
    /// <see cref="GpuException"/> is thrown.
    /// <value>Default: true.</value>
    /// </summary>
    public bool Fallback { get; init; } = true;

    /// <summary>
    /// Gets the method that receives a sentence when a device is not used or no longer used, with the reason.
    /// <value>Default: null, no warnings.</value>
    /// </summary>
    public Action<string>? Warning { get; init; }
}
