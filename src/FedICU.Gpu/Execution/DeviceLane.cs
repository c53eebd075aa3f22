using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;

namespace FedICU.Gpu.Execution;

/// <summary>
/// A stream with its own memory for staged inputs, scratch values and results. Inputs and results have a page-locked
/// copy on the host at the same offsets. A lane runs one piece of work at a time; while it runs, another lane's work
/// can be prepared. Not thread-safe.
/// </summary>
/// <param name="accelerator">The device.</param>
/// <param name="allocate">Allocates memory on the device.</param>
internal sealed unsafe class DeviceLane(Accelerator accelerator, Func<long, MemoryBuffer1D<byte, Stride1D.Dense>> allocate) : IDisposable
{
    // Bytes. Chosen: what devices align their own allocations to, and a multiple of the widest access (16 bytes).
    private const int Alignment = 256;

    private readonly Region _staged = new(accelerator, allocate, hasHostCopy: true);
    private readonly Region _scratch = new(accelerator, allocate, hasHostCopy: false);
    private readonly Region _results = new(accelerator, allocate, hasHostCopy: true);
    private Action? _takeResults;

    public AcceleratorStream Stream { get; } = accelerator.CreateStream();

    public static long Align(long bytes) => (bytes + (Alignment - 1)) & ~(Alignment - 1L);

    /// <summary>Begins a piece of work. The previous one must be finished: call <see cref="Finish"/> first.</summary>
    /// <param name="staged">The bytes that will be staged, each part aligned.</param>
    /// <param name="scratch">The bytes that stay on the device, each part aligned.</param>
    /// <param name="results">The bytes of results, each part aligned.</param>
    public void Begin(long staged, long scratch, long results)
    {
        _staged.Begin(staged);
        _scratch.Begin(scratch);
        _results.Begin(results);
    }

    /// <summary>
    /// Takes memory for an input: the caller fills <paramref name="host"/>, and a kernel reads the returned view.
    /// </summary>
    public ArrayView<T> Stage<T>(long count, out Span<T> host) where T : unmanaged
    {
        ArrayView<T> onDevice = _staged.Take<T>(count, out byte* pointer);
        host = new Span<T>(pointer, checked((int)count));
        return onDevice;
    }

    /// <summary>Stages values that exist already.</summary>
    public ArrayView<T> Stage<T>(ReadOnlySpan<T> values) where T : unmanaged
    {
        ArrayView<T> onDevice = Stage(values.Length, out Span<T> host);
        values.CopyTo(host);
        return onDevice;
    }

    /// <summary>Takes memory that stays on the device; it is not cleared.</summary>
    public ArrayView<T> Scratch<T>(long count) where T : unmanaged => _scratch.Take<T>(count, out _);

    /// <summary>
    /// Takes memory for a result: a kernel writes the returned view, and <paramref name="host"/> contains it after
    /// <see cref="Finish"/>.
    /// </summary>
    public ArrayView<T> Result<T>(long count, out T* host) where T : unmanaged
    {
        ArrayView<T> onDevice = _results.Take<T>(count, out byte* pointer);
        host = (T*)pointer;
        return onDevice;
    }

    /// <summary>Enqueues the copy of the staged inputs to the device.</summary>
    public void Upload() => _staged.Copy(Stream, toDevice: true);

    /// <summary>
    /// Enqueues the copy of the results to the host. <see cref="Finish"/> calls <paramref name="takeResults"/>.
    /// </summary>
    public void Download(Action takeResults)
    {
        _results.Copy(Stream, toDevice: false);
        _takeResults = takeResults;
    }

    /// <summary>Waits for the running work and passes its results on.</summary>
    public void Finish()
    {
        if (_takeResults is not { } takeResults)
            return;
        _takeResults = null;
        Stream.Synchronize();
        takeResults();
    }

    /// <summary>Waits for all work that was enqueued and drops its results.</summary>
    public void Abandon()
    {
        _takeResults = null;
        Stream.Synchronize();
    }

    public void Dispose()
    {
        foreach (IDisposable part in (IDisposable[])[_staged, _results, _scratch, Stream])
            DeviceFailure.Free(part);
    }

    /// <summary>Memory that grows to the largest size asked for and is handed out from its start.</summary>
    private sealed class Region(
        Accelerator accelerator, Func<long, MemoryBuffer1D<byte, Stride1D.Dense>> allocate, bool hasHostCopy) : IDisposable
    {
        private MemoryBuffer1D<byte, Stride1D.Dense>? _device;
        private CPUMemoryBuffer? _host;
        private long _used;

        private ArrayView<byte> Device => _device is null ? ArrayView<byte>.Empty : _device.View;

        public void Begin(long bytes)
        {
            _used = 0;
            if (bytes <= (_device?.Length ?? 0))
                return;
            Dispose();
            _device = allocate(Align(bytes));
            if (hasHostCopy)
                _host = CPUMemoryBuffer.CreatePageLocked(accelerator, Align(bytes), sizeof(byte));
        }

        public ArrayView<T> Take<T>(long count, out byte* host) where T : unmanaged
        {
            host = null;
            if (count == 0)
                return ArrayView<T>.Empty;
            long bytes = count * sizeof(T), start = _used;
            if (start + bytes > Device.Length)
                throw new InvalidOperationException("A lane's work takes more memory than it began with.");
            _used = Align(start + bytes);
            host = _host is null ? null : (byte*)_host.NativePtr + start;
            return Device.SubView(start, bytes).Cast<T>();
        }

        public void Copy(AcceleratorStream stream, bool toDevice)
        {
            if (_used == 0)
                return;
            long bytes = Math.Min(_used, Device.Length);
            // ILGPU's copy for OpenCL always copies a whole host buffer, so this wraps the used part in one of its own
            using var hostBuffer = CPUMemoryBuffer.Create(accelerator, _host!.NativePtr, bytes, sizeof(byte));
            ArrayView<byte> host = hostBuffer.AsRawArrayView(), onDevice = Device.SubView(0, bytes);
            if (toDevice)
                onDevice.CopyFrom(stream, host);
            else
                onDevice.CopyTo(stream, host);
        }

        public void Dispose()
        {
            DeviceFailure.Free(_device);
            DeviceFailure.Free(_host);
            (_device, _host) = (null, null);
        }
    }
}
