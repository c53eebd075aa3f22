using System.Diagnostics.CodeAnalysis;
using FedICU.Compute;
using FedICU.Gpu.Execution;
using FedICU.Gpu.Kernels;
using FedICU.Gpu.Verification;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace FedICU.Gpu;

/// <summary>
/// Computes the verbs with ILGPU kernels on a CUDA or OpenCL device. Panels in host memory are copied to the device in
/// chunks, through page-locked memory; one chunk is computed while the next is prepared. Thread-safe.
/// </summary>
/// <remarks>
/// <see cref="IComputeBackend.WeightedSum"/> gives the same bits as the other backends. Other results keep the bound of
/// docs/algorithms.md, Numerics. A verb that fails has not changed anything that it adds to or writes in place.
/// </remarks>
public sealed unsafe partial class GpuBackend : IClientBackend, IPartialDevice, IDisposable
{
    // elements of a panel on the device if the output is there too: chosen, few launches for the largest tensors
    private const int PanelElements = 1 << 26;

    // elements of a panel on the device if the host receives the results: chosen, a panel of results must fit the
    // host's scratch memory
    private const int PanelElementsForHost = 1 << 22;

    private readonly Context _context;
    private readonly Accelerator _accelerator;
    private readonly long _chunkBytes;
    private readonly KernelSet _kernels;
    private readonly LaunchGrid _grid;
    private readonly PartialSums _partialSums;
    private readonly DeviceMemory _memory;
    private readonly PanelStaging _staging;
    private readonly ChunkRunner _chunks;
    private int _disposed;

    /// <summary>Creates a backend that owns a device and its context.</summary>
    internal GpuBackend(Context context, Accelerator accelerator, string name, long chunkBytes)
    {
        (_context, _accelerator, Name, _chunkBytes) = (context, accelerator, name, chunkBytes);
        _kernels = new KernelSet(accelerator);
        _grid = new LaunchGrid(accelerator);
        _partialSums = new PartialSums(_kernels, _grid);
        _memory = new DeviceMemory(accelerator);
        _staging = new PanelStaging(_memory, chunkBytes);
        _chunks = new ChunkRunner(accelerator, _memory);
    }

    /// <inheritdoc/>
    public string Name { get; }

    object? IComputeBackend.Device => _accelerator;

    // passes over the device's memory cost less than the inner products of all pairs
    int IComputeBackend.PairInputs => 0;

    int IComputeBackend.GetPanelElementsOnDevice(bool outputOnDevice) => outputOnDevice ? PanelElements : PanelElementsForHost;

    /// <summary>Gets whether the device's memory can contain <see cref="DeviceTensors"/>: true for CUDA.</summary>
    public bool HasAddresses => AddressSpace.IsSupportedBy(_accelerator);

    /// <summary>Gets the kind and name of the device, for messages.</summary>
    internal string Description => $"{Name}: {_accelerator.Name}";

    /// <summary>Gets the device's memory.</summary>
    internal DeviceMemory Memory => _memory;

    /// <summary>
    /// Creates the backend of a device, if there is one that passes its self-check against the reference. The check
    /// takes seconds the first time in a process.
    /// </summary>
    /// <param name="kind">The programming interface of the device.</param>
    /// <param name="options">
    /// The device to use and the chunk size; null for the defaults. The options about the CPU are ignored.
    /// </param>
    /// <param name="backend">The backend, which the caller disposes; null if there is none.</param>
    /// <param name="reason">The reason why there is none, as a sentence.</param>
    /// <returns>Whether a backend was created.</returns>
    public static bool TryCreate(
        GpuKind kind, GpuOptions? options, [NotNullWhen(true)] out GpuBackend? backend, [NotNullWhen(false)] out string? reason)
    {
        backend = GpuDevices.TryCreate(kind, options ?? new GpuOptions(), gpusOnly: false, out reason, out _);
        return backend is not null;
    }

    /// <summary>
    /// Compares rounds of a BF16 matrix of 2^31 + 6144 elements on the device with the CPU's results. This takes 16 GiB
    /// of the device's memory and 32 GiB of the host's.
    /// </summary>
    /// <param name="reason">
    /// What is wrong, or how much memory is missing, as a sentence; null if the results are right.
    /// </param>
    /// <returns>
    /// Whether the results are right; null if they were not checked, because there is too little memory.
    /// </returns>
    public bool? VerifyLongTensor(out string? reason)
    {
        long freeBytes = _accelerator is CudaAccelerator cuda ? cuda.GetFreeMemory() : 0;
        return LongTensorCheck.Run(this, freeBytes, _chunkBytes, out reason);
    }

    /// <summary>Measures how fast the device copies: the median of seven runs, after one that warms up.</summary>
    /// <param name="bytes">The number of bytes to copy.</param>
    /// <returns>
    /// The milliseconds of a copy within the device's memory, and of one from page-locked host memory to the device.
    /// </returns>
    public (double WithinDevice, double ToDevice) MeasureCopy(int bytes) => CopySpeed.Measure(_accelerator, _memory, bytes);

    /// <summary>Frees the device. No verb may be running: this does not wait for one.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _memory.Dispose();
        DeviceFailure.Free(_accelerator);
        DeviceFailure.Free(_context);
    }

    IDisposable? IComputeBackend.AllocateOnDevice(long bytes, out nint address) => _memory.TryLend(bytes, out address);

    /// <summary>Copies from an address on the device.</summary>
    internal void Read(nint address, Span<byte> destination)
    {
        fixed (byte* first = destination)
        {
            byte* target = first;
            ForEachChunk(Chunk.OfElements(destination.Length, 1, _chunkBytes), (lane, chunk) =>
            {
                lane.Begin(0, 0, DeviceLane.Align(chunk.Length));
                ArrayView<byte> result = lane.Result(chunk.Length, out byte* host);
                _memory.Addresses.At(address + chunk.Column, chunk.Length).CopyTo(lane.Stream, result);
                return () => new ReadOnlySpan<byte>(host, chunk.Length).CopyTo(new Span<byte>(target + chunk.Column, chunk.Length));
            });
        }
    }

    /// <summary>Copies to an address on the device.</summary>
    internal void Write(nint address, ReadOnlySpan<byte> source)
    {
        fixed (byte* first = source)
        {
            byte* from = first;
            ForEachChunk(Chunk.OfElements(source.Length, 1, _chunkBytes), (lane, chunk) =>
            {
                lane.Begin(DeviceLane.Align(chunk.Length), 0, 0);
                ArrayView<byte> staged = lane.Stage(new ReadOnlySpan<byte>(from + chunk.Column, chunk.Length));
                lane.Upload();
                staged.CopyTo(lane.Stream, _memory.Addresses.At(address + chunk.Column, chunk.Length));
                return () => { };
            });
        }
    }

    private void ForEachChunk(List<Chunk> chunks, Func<DeviceLane, Chunk, Action> start)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        _chunks.ForEach(chunks, start);
    }

    private static void Add(double* values, double* sums, long count)
    {
        for (long i = 0; i < count; i++)
            sums[i] += values[i];
    }
}
