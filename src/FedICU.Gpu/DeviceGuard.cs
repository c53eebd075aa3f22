namespace FedICU.Gpu;

/// <summary>The state of a device, which all backends that guard it share.</summary>
internal sealed class DeviceGuard
{
    private volatile bool _hasFailed, _holdsTensors;

    /// <summary>Gets or sets whether the device has failed.</summary>
    public bool HasFailed { get => _hasFailed; set => _hasFailed = value; }

    /// <summary>
    /// Gets or sets whether a verb had tensors in the device's memory, which the CPU cannot continue with.
    /// </summary>
    public bool HoldsTensors { get => _holdsTensors; set => _holdsTensors = value; }
}
