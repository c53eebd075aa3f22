using FedICU.Compute;
using FedICU.Gpu.Execution;

namespace FedICU.Gpu;

/// <summary>
/// A device's backend with the CPU as its fallback. The CPU computes verbs that are too small to be worth copying to
/// the device. If the device fails, the CPU computes the failed verb again and every verb after it. This is possible
/// because a failed verb has not added to or overwritten anything.
/// </summary>
internal sealed unsafe class GuardedBackend : IClientBackend, IRoutingBackend, IDisposable
{
    private readonly IComputeBackend _device, _cpu;
    private readonly string _description;
    private readonly GpuOptions _options;
    private readonly Guard _guard;

    /// <summary>Creates a backend that guards a device.</summary>
    /// <param name="device">The device's backend, which is disposed with this one.</param>
    /// <param name="description">The device's name in messages.</param>
    /// <param name="options">Which verbs go to the device, and what happens if it fails.</param>
    public GuardedBackend(IClientBackend device, string description, GpuOptions options)
        : this(device, new SimdBackend(), description, options, new Guard())
    {
    }

    private GuardedBackend(IComputeBackend device, IComputeBackend cpu, string description, GpuOptions options, Guard guard) =>
        (_device, _cpu, _description, _options, _guard) = (device, cpu, description, options, guard);

    /// <summary>Gets the name of the device's backend; after the device has failed, the CPU's.</summary>
    public string Name => _guard.HasFailed ? _cpu.Name : _device.Name;

    public object? Device => _guard.HasFailed ? null : _device.Device;

    public int PairInputs => _guard.HasFailed ? _cpu.PairInputs : _device.PairInputs;

    public IComputeBackend Counted(RoundWork work) =>
        new GuardedBackend(new CountingBackend(_device, work), new CountingBackend(_cpu, work), _description, _options, _guard);

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
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            return Fail(e).WeightedSum(inputs, weights, divisor, length, output);
        }
    }

    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        IComputeBackend selected = SelectBackend(inputs, geometry.Length);
        try
        {
            selected.AddSquares(inputs, geometry, sums);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            Fail(e).AddSquares(inputs, geometry, sums);
        }
    }

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        IComputeBackend selected = SelectBackend(inputs, geometry.Length);
        try
        {
            selected.AddGram(inputs, geometry, grams);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            Fail(e).AddGram(inputs, geometry, grams);
        }
    }

    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        IComputeBackend selected = SelectBackend(inputs, geometry.Length);
        try
        {
            selected.AddProjections(inputs, geometry, a, b, dots);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            Fail(e).AddProjections(inputs, geometry, a, b, dots);
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
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            return Fail(e).Combine(inputs, geometry, coefficients, scales, output, squares);
        }
    }

    public long CountNonFinite(TensorPanel input, int length)
    {
        IComputeBackend selected = SelectBackend([input], length);
        try
        {
            return selected.CountNonFinite(input, length);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            return Fail(e).CountNonFinite(input, length);
        }
    }

    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        IClientBackend selected = SelectClientBackend([inputs.Global, inputs.Local], length);
        try
        {
            selected.AddMoments(inputs, length, ref update, ref global);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            ((IClientBackend)Fail(e)).AddMoments(inputs, length, ref update, ref global);
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
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            return ((IClientBackend)Fail(e)).SelectImportant(inputs, length, update, global, mask, momentum);
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
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            ((IClientBackend)Fail(e)).Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);
        }
    }

    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        IClientBackend selected = SelectClientBackend([source], length);
        try
        {
            return selected.Pack(source, length, mask, packed);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            return ((IClientBackend)Fail(e)).Pack(source, length, mask, packed);
        }
    }

    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        IClientBackend selected = SelectClientBackend([local, global], length);
        try
        {
            return selected.AddProximal(local, global, mu, length, gradient);
        }
        catch (Exception e) when (selected == _device && DeviceFailure.Is(e))
        {
            return ((IClientBackend)Fail(e)).AddProximal(local, global, mu, length, gradient);
        }
    }

    public void Dispose() => (_device as IDisposable)?.Dispose();

    /// <summary>
    /// Selects the device if the inputs are large enough to be worth copying. Selects the CPU for a verb that
    /// overwrites one of its inputs, because it could not be computed again if the device failed.
    /// </summary>
    private IComputeBackend SelectBackend(ReadOnlySpan<TensorPanel> inputs, int length, TensorPanel output = default)
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

    /// <summary>Selects the backend of a client's verb. Rounds use counted copies, which have no such verbs.</summary>
    private IClientBackend SelectClientBackend(ReadOnlySpan<TensorPanel> inputs, int length, TensorPanel output = default) =>
        (IClientBackend)SelectBackend(inputs, length, output);

    private IComputeBackend Fail(Exception e)
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

    /// <summary>The state of a device, which all its rounds share.</summary>
    private sealed class Guard
    {
        private volatile bool _hasFailed, _holdsTensors;

        /// <summary>Gets or sets whether the device has failed.</summary>
        public bool HasFailed { get => _hasFailed; set => _hasFailed = value; }

        /// <summary>
        /// Gets or sets whether a verb had tensors in the device's memory, which the CPU cannot continue with.
        /// </summary>
        public bool HoldsTensors { get => _holdsTensors; set => _holdsTensors = value; }
    }
}
