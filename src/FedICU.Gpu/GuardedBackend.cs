using FedICU.Compute;
using FedICU.Gpu.Execution;

namespace FedICU.Gpu;

/// <summary>
/// All verbs of a device's backend with the CPU as its fallback, see <see cref="GuardedServerBackend"/>. Rounds use
/// counted copies, which have the server's verbs only.
/// </summary>
internal sealed unsafe class GuardedBackend : GuardedServerBackend, IClientBackend, IDisposable
{
    private readonly IClientBackend _device, _cpu;

    /// <summary>Creates a backend that guards a device.</summary>
    /// <param name="device">The device's backend, which is disposed with this one.</param>
    /// <param name="description">The device's name in messages.</param>
    /// <param name="options">Which verbs go to the device, and what happens if it fails.</param>
    public GuardedBackend(IClientBackend device, string description, GpuOptions options)
        : this(device, new SimdBackend(), description, options)
    {
    }

    private GuardedBackend(IClientBackend device, IClientBackend cpu, string description, GpuOptions options)
        : base(device, cpu, description, options, new DeviceGuard()) => (_device, _cpu) = (device, cpu);

    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        IClientBackend selected = SelectClientBackend([inputs.Global, inputs.Local], length);
        try
        {
            selected.AddMoments(inputs, length, ref update, ref global);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            SwitchClientToCpu(e).AddMoments(inputs, length, ref update, ref global);
        }
    }

    public long SelectImportant(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        IClientBackend selected = SelectClientBackend([inputs.Global, inputs.Local, inputs.Momentum], length, momentum);
        try
        {
            return selected.SelectImportant(inputs, length, update, global, mask, momentum);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            return SwitchClientToCpu(e).SelectImportant(inputs, length, update, global, mask, momentum);
        }
    }

    public void Importance(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance,
        double* globalImportance)
    {
        IClientBackend selected = SelectClientBackend([inputs.Global, inputs.Local], length);
        try
        {
            selected.Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            SwitchClientToCpu(e).Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);
        }
    }

    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        IClientBackend selected = SelectClientBackend([source], length);
        try
        {
            return selected.Pack(source, length, mask, packed);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            return SwitchClientToCpu(e).Pack(source, length, mask, packed);
        }
    }

    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        IClientBackend selected = SelectClientBackend([local, global], length);
        try
        {
            return selected.AddProximal(local, global, mu, length, gradient);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            return SwitchClientToCpu(e).AddProximal(local, global, mu, length, gradient);
        }
    }

    public void Dispose() => (_device as IDisposable)?.Dispose();

    private IClientBackend SelectClientBackend(ReadOnlySpan<TensorPanel> inputs, int length, TensorPanel output = default) =>
        SelectBackend(inputs, length, output) == _device ? _device : _cpu;

    private IClientBackend SwitchClientToCpu(Exception e)
    {
        SwitchToCpu(e);
        return _cpu;
    }
}
