using FedICU.Compute;
using FedICU.Gpu.Execution;

namespace FedICU.Gpu;

/// <summary>
/// The server's verbs of a device's backend with the CPU as its fallback. The CPU computes verbs that are too small to
/// be worth copying to the device. If the device fails, the CPU computes the failed verb again and every verb after it.
/// This is possible because a failed verb has not added to or overwritten anything.
/// </summary>
internal unsafe class GuardedServerBackend : IComputeBackend, IRoutingBackend
{
    private readonly IComputeBackend _device, _cpu;
    private readonly string _description;
    private readonly GpuOptions _options;
    private readonly DeviceGuard _guard;

    /// <summary>Creates a backend that guards a device.</summary>
    /// <param name="device">The device's backend.</param>
    /// <param name="cpu">The fallback.</param>
    /// <param name="description">The device's name in messages.</param>
    /// <param name="options">Which verbs go to the device, and what happens if it fails.</param>
    /// <param name="guard">The device's state, shared with all backends that guard it.</param>
    protected GuardedServerBackend(
        IComputeBackend device, IComputeBackend cpu, string description, GpuOptions options, DeviceGuard guard) =>
        (_device, _cpu, _description, _options, _guard) = (device, cpu, description, options, guard);

    /// <summary>Gets the name of the device's backend; after the device has failed, the CPU's.</summary>
    public string Name => _guard.HasFailed ? _cpu.Name : _device.Name;

    public object? Device => _guard.HasFailed ? null : _device.Device;

    public int PairInputs => _guard.HasFailed ? _cpu.PairInputs : _device.PairInputs;

    public int GetPanelElements(int inputs) => _device.GetPanelElements(inputs);

    public int GetPanelElementsOnDevice(bool outputOnDevice) => _device.GetPanelElementsOnDevice(outputOnDevice);

    public IComputeBackend Counted(RoundWork work) =>
        new GuardedServerBackend(new CountingBackend(_device, work), new CountingBackend(_cpu, work), _description, _options, _guard);

    public IDisposable? AllocateOnDevice(long bytes, out nint address)
    {
        address = 0;
        return _guard.HasFailed ? null : _device.AllocateOnDevice(bytes, out address);
    }

    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        IComputeBackend selected = SelectBackend(inputs, length, output);
        try
        {
            return selected.WeightedSum(inputs, weights, divisor, length, output);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            return SwitchToCpu(e).WeightedSum(inputs, weights, divisor, length, output);
        }
    }

    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        IComputeBackend selected = SelectBackend(inputs, geometry.Length);
        try
        {
            selected.AddSquares(inputs, geometry, sums);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            SwitchToCpu(e).AddSquares(inputs, geometry, sums);
        }
    }

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        IComputeBackend selected = SelectBackend(inputs, geometry.Length);
        try
        {
            selected.AddGram(inputs, geometry, grams);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            SwitchToCpu(e).AddGram(inputs, geometry, grams);
        }
    }

    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        IComputeBackend selected = SelectBackend(inputs, geometry.Length);
        try
        {
            selected.AddProjections(inputs, geometry, a, b, dots);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            SwitchToCpu(e).AddProjections(inputs, geometry, a, b, dots);
        }
    }

    public long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
        double* squares)
    {
        IComputeBackend selected = SelectBackend(inputs, geometry.Length, output);
        try
        {
            return selected.Combine(inputs, geometry, coefficients, scales, output, squares);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            return SwitchToCpu(e).Combine(inputs, geometry, coefficients, scales, output, squares);
        }
    }

    // a device leaves this verb to the CPU: only panels in its memory have to go through it
    public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
    {
        IComputeBackend selected = DevicePanels.IsAnyOnDevice(inputs, output) ? SelectBackend(inputs, length, output) : _cpu;
        try
        {
            return selected.MiddleMean(inputs, trim, length, output);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            return SwitchToCpu(e).MiddleMean(inputs, trim, length, output);
        }
    }

    // as above
    public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums)
    {
        IComputeBackend selected = DevicePanels.IsAnyOnDevice(inputs, default) ? SelectBackend(inputs, length) : _cpu;
        try
        {
            selected.AddPairDistances(inputs, length, sums);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            SwitchToCpu(e).AddPairDistances(inputs, length, sums);
        }
    }

    // as above
    public void AddDistances(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
        Span<double> products)
    {
        bool onDevice = DevicePanels.IsAnyOnDevice(inputs, origin) || direction.OnDevice;
        IComputeBackend selected = onDevice ? SelectBackend(inputs, length) : _cpu;
        try
        {
            selected.AddDistances(inputs, origin, direction, length, squares, products);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            SwitchToCpu(e).AddDistances(inputs, origin, direction, length, squares, products);
        }
    }

    public long CountNonFinite(TensorPanel input, int length)
    {
        IComputeBackend selected = SelectBackend([input], length);
        try
        {
            return selected.CountNonFinite(input, length);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.IsDeviceFailure(e))
        {
            return SwitchToCpu(e).CountNonFinite(input, length);
        }
    }

    /// <summary>
    /// Selects the device if the inputs are large enough to be worth copying. Selects the CPU for a verb that
    /// overwrites one of its inputs, because it could not be computed again if the device failed.
    /// </summary>
    protected IComputeBackend SelectBackend(ReadOnlySpan<TensorPanel> inputs, int length, TensorPanel output = default)
    {
        // the bytes of one input decide, because the number of inputs depends on how the work is cut
        long bytes = 0;
        bool overwrites = false;
        foreach (TensorPanel input in inputs)
        {
            bytes = Math.Max(bytes, input.Data is null ? 0 : (long)length * (input.DType.BitSize / 8));
            overwrites |= output.Data is not null && input.Data == output.Data;
        }

        if (!DevicePanels.IsAnyOnDevice(inputs, output))
            return _guard.HasFailed || overwrites || bytes < _options.LeastBytes ? _cpu : _device;
        // the CPU cannot read the device's memory, which is lost when the device fails
        if (_guard.HasFailed)
            throw new GpuException($"{_description} failed, and the round's tensors were in its memory.");
        _guard.HoldsTensors = true;
        return _device;
    }

    /// <summary>
    /// Switches to the CPU after a failure, or throws if the options or the tensors' place forbid it.
    /// </summary>
    protected IComputeBackend SwitchToCpu(Exception e)
    {
        string sentence = $"{_description} failed: {DeviceFailure.Describe(e)}";
        if (!_options.Fallback || _guard.HoldsTensors)
            throw new GpuException(sentence, e);
        lock (_guard)
        {
            if (!_guard.HasFailed)
                _options.Warning?.Invoke($"{sentence} The CPU continues the work.");
            _guard.HasFailed = true;
        }

        return _cpu;
    }
}
