using System.Collections.Concurrent;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Execution;

/// <summary>
/// Allocates the memory of one device. Keeps idle lanes and one returned buffer for reuse, and frees them when the
/// device has no memory left. Thread-safe.
/// </summary>
internal sealed class DeviceMemory(Accelerator accelerator) : IDisposable
{
    private readonly ConcurrentBag<DeviceLane> _idleLanes = [];
    private readonly Lazy<AddressSpace> _addresses = new(() => new AddressSpace(accelerator));
    private MemoryBuffer? _spare;
    private volatile bool _isDisposed;

    /// <summary>Gets the device's memory by address.</summary>
    /// <exception cref="NotSupportedException">The device has no addresses.</exception>
    public AddressSpace Addresses => _addresses.Value;

    /// <summary>Allocates memory. If that fails, frees what is kept for reuse and tries once more.</summary>
    public MemoryBuffer1D<byte, Stride1D.Dense> Allocate(long bytes)
    {
        accelerator.Bind();
        try
        {
            return accelerator.Allocate1D<byte>(bytes);
        }
        catch (Exception e) when (DeviceFailure.IsDeviceFailure(e))
        {
            if (!FreeUnused())
                throw;
        }

        return accelerator.Allocate1D<byte>(bytes);
    }

    /// <summary>
    /// Lends memory until the returned object is disposed, or returns null if the device fails to allocate it. Keeps
    /// one returned buffer for the next caller: to allocate and free costs a device more than to add up a small tensor.
    /// </summary>
    public IDisposable? TryLend(long bytes, out nint address)
    {
        MemoryBuffer? memory = Interlocked.Exchange(ref _spare, null);
        try
        {
            if (memory?.LengthInBytes < bytes)
            {
                memory.Dispose();
                memory = null;
            }

            memory ??= Allocate(bytes);
            address = memory.NativePtr;
            return new Loan(this, memory);
        }
        catch (Exception e) when (DeviceFailure.IsDeviceFailure(e))
        {
            // the caller can do without; if the device is lost, its next verb fails too
            address = 0;
            return null;
        }
    }

    /// <summary>Takes an idle lane, or creates one.</summary>
    public DeviceLane TakeLane() => _idleLanes.TryTake(out DeviceLane? lane) ? lane : CreateLane();

    public DeviceLane CreateLane() => new(accelerator, Allocate);

    /// <summary>Keeps a lane for the next verb.</summary>
    public void ReturnLane(DeviceLane lane) => _idleLanes.Add(lane);

    public void Dispose()
    {
        _isDisposed = true;
        FreeUnused();
        if (_addresses.IsValueCreated)
            DeviceFailure.Free(_addresses.Value);
    }

    /// <summary>Frees what is kept for reuse. Returns whether there was anything.</summary>
    private bool FreeUnused()
    {
        MemoryBuffer? spare = Interlocked.Exchange(ref _spare, null);
        DeviceFailure.Free(spare);
        bool freed = spare is not null;
        for (; _idleLanes.TryTake(out DeviceLane? lane); freed = true)
            lane.Dispose();
        return freed;
    }

    private void Return(MemoryBuffer memory)
    {
        DeviceFailure.Free(Interlocked.Exchange(ref _spare, memory));
        if (_isDisposed)
            DeviceFailure.Free(Interlocked.Exchange(ref _spare, null));
    }

    private sealed class Loan(DeviceMemory owner, MemoryBuffer memory) : IDisposable
    {
        public void Dispose() => owner.Return(memory);
    }
}
