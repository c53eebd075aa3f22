using System.Runtime.InteropServices;
using FedICU.Memory;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;

namespace FedICU.Gpu;

/// <summary>
/// A stream of a device with memory of its own: what goes there and what comes back lies page-locked on the host at the same offsets. One piece of work at a time: while
/// it is under way another lane's is prepared. Not thread-safe.
/// </summary>
/// <param name="accelerator">The device.</param>
/// <param name="allocate">Takes memory of it.</param>
internal sealed unsafe class DeviceLane(Accelerator accelerator, Func<long, MemoryBuffer1D<byte, Stride1D.Dense>> allocate) : IDisposable
{
    // what the widest accesses want, and what devices' own allocations are aligned to
    private const int Alignment = 256;

    private readonly Region _up = new(accelerator, allocate, onHost: true), _down = new(accelerator, allocate, onHost: true), _scratch = new(accelerator, allocate, onHost: false);
    private Action? _drain;

    public AcceleratorStream Stream { get; } = accelerator.CreateStream();

    public static long Align(long bytes) => (bytes + (Alignment - 1)) & ~(Alignment - 1L);

    /// <summary>Begins a piece of work: all that <see cref="Finish"/> has not been told of must be done.</summary>
    /// <param name="up">Bytes that will be staged, each part aligned.</param>
    /// <param name="scratch">Bytes that stay on the device.</param>
    /// <param name="down">Bytes of results.</param>
    public void Begin(long up, long scratch, long down)
    {
        _up.Begin(up);
        _scratch.Begin(scratch);
        _down.Begin(down);
    }

    /// <summary>Room on the host for what goes to the device, and its place there.</summary>
    public ArrayView<T> Stage<T>(long count, out Span<T> host) where T : unmanaged
    {
        ArrayView<T> device = _up.Take<T>(count, out byte* pointer);
        host = new Span<T>(pointer, checked((int)count));
        return device;
    }

    public ArrayView<T> Stage<T>(ReadOnlySpan<T> values) where T : unmanaged
    {
        ArrayView<T> device = Stage(values.Length, out Span<T> host);
        values.CopyTo(host);
        return device;
    }

    /// <summary>Memory that stays on the device; not cleared.</summary>
    public ArrayView<T> Scratch<T>(long count) where T : unmanaged => _scratch.Take<T>(count, out _);

    /// <summary>Memory on the device that comes back, and where.</summary>
    public ArrayView<T> Result<T>(long count, out T* host) where T : unmanaged
    {
        ArrayView<T> device = _down.Take<T>(count, out byte* pointer);
        host = (T*)pointer;
        return device;
    }

    /// <summary>Copies what was staged, in the order of the stream.</summary>
    public void Upload() => _up.Copy(Stream, toDevice: true);

    /// <summary>Copies the results back, in the order of the stream; <paramref name="drain"/> is called when they are there.</summary>
    public void Download(Action drain)
    {
        _down.Copy(Stream, toDevice: false);
        _drain = drain;
    }

    /// <summary>Waits for the work under way and hands out its results.</summary>
    public void Finish()
    {
        if (_drain is not { } drain)
            return;
        _drain = null;
        Stream.Synchronize();
        drain();
    }

    /// <summary>Waits for the work under way, begun or staged, and forgets it.</summary>
    public void Abandon()
    {
        _drain = null;
        Stream.Synchronize();
    }

    public void Dispose()
    {
        foreach (IDisposable part in (IDisposable[])[_up, _down, _scratch, Stream])
            DeviceFailure.Free(part);
    }

    private sealed class Region(Accelerator accelerator, Func<long, MemoryBuffer1D<byte, Stride1D.Dense>> allocate, bool onHost) : IDisposable
    {
        private MemoryBuffer1D<byte, Stride1D.Dense>? _device;
        private CPUMemoryBuffer? _host;
        private long _used;

        public ArrayView<byte> Device => _device is null ? ArrayView<byte>.Empty : _device.View;

        public void Begin(long bytes)
        {
            _used = 0;
            if (bytes <= (_device?.Length ?? 0))
                return;
            Dispose();
            _device = allocate(Align(bytes));
            if (onHost)
                _host = CPUMemoryBuffer.CreatePageLocked(accelerator, Align(bytes), sizeof(byte));
        }

        public ArrayView<T> Take<T>(long count, out byte* host) where T : unmanaged
        {
            host = null;
            if (count == 0)
                return ArrayView<T>.Empty;
            long bytes = count * sizeof(T), at = _used;
            if (at + bytes > Device.Length)
                throw new InvalidOperationException("More of a lane's memory is taken than was begun with.");
            _used = Align(at + bytes);
            host = _host is null ? null : (byte*)_host.NativePtr + at;
            return Device.SubView(at, bytes).Cast<T>();
        }

        public void Copy(AcceleratorStream stream, bool toDevice)
        {
            if (_used == 0)
                return;
            long bytes = Math.Min(_used, Device.Length);
            // ILGPU's copy for OpenCL takes all of a host buffer, so one of this length is wrapped around the memory
            using var host = CPUMemoryBuffer.Create(accelerator, _host!.NativePtr, bytes, sizeof(byte));
            ArrayView<byte> here = host.AsRawArrayView(), there = Device.SubView(0, bytes);
            if (toDevice)
                there.CopyFrom(stream, here);
            else
                there.CopyTo(stream, here);
        }

        public void Dispose()
        {
            DeviceFailure.Free(_device);
            DeviceFailure.Free(_host);
            (_device, _host) = (null, null);
        }
    }
}
