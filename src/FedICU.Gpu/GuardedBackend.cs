using FedICU.Compute;

namespace FedICU.Gpu;

/// <summary>
/// A device's backend that the processor stands in for: for verbs too small to repay the way there, and, once the device fails, for the verb that failed and all after it.
/// A failed verb has added to nothing, so that it can be computed anew.
/// </summary>
internal sealed unsafe class GuardedBackend(IComputeBackend device, string description, GpuOptions options) : IComputeBackend, IDisposable
{
    private readonly SimdBackend _processor = new();
    private readonly Lock _gate = new();
    private volatile bool _failed, _holdsTensors;

    /// <summary>Who does the work: the device, until it fails.</summary>
    public string Name => _failed ? _processor.Name : device.Name;

    public object? Device => _failed ? null : device.Device;

    public int PairInputs => _failed ? ((IComputeBackend)_processor).PairInputs : device.PairInputs;

    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        try
        {
            return Who(inputs, length, output).WeightedSum(inputs, weights, divisor, length, output);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            return Fail(e).WeightedSum(inputs, weights, divisor, length, output);
        }
    }

    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        try
        {
            Who(inputs, geometry.Length).AddSquares(inputs, geometry, sums);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            Fail(e).AddSquares(inputs, geometry, sums);
        }
    }

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        try
        {
            Who(inputs, geometry.Length).AddGram(inputs, geometry, grams);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            Fail(e).AddGram(inputs, geometry, grams);
        }
    }

    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        try
        {
            Who(inputs, geometry.Length).AddProjections(inputs, geometry, a, b, dots);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            Fail(e).AddProjections(inputs, geometry, a, b, dots);
        }
    }

    public long Combine(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output, double* squares)
    {
        try
        {
            return Who(inputs, geometry.Length, output).Combine(inputs, geometry, coefficients, scales, output, squares);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            return Fail(e).Combine(inputs, geometry, coefficients, scales, output, squares);
        }
    }

    public long CountNonFinite(TensorPanel input, int length)
    {
        try
        {
            return Who([input], length).CountNonFinite(input, length);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            return Fail(e).CountNonFinite(input, length);
        }
    }

    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        try
        {
            Who([inputs.Global, inputs.Local], length).AddMoments(inputs, length, ref update, ref global);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            Fail(e).AddMoments(inputs, length, ref update, ref global);
        }
    }

    public long SelectImportant(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        try
        {
            return Who([inputs.Global, inputs.Local, inputs.Momentum], length, momentum).SelectImportant(inputs, length, update, global, mask, momentum);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            return Fail(e).SelectImportant(inputs, length, update, global, mask, momentum);
        }
    }

    public void Importance(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance, double* globalImportance)
    {
        try
        {
            Who([inputs.Global, inputs.Local], length).Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            Fail(e).Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);
        }
    }

    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        try
        {
            return Who([local, global], length).AddProximal(local, global, mu, length, gradient);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            return Fail(e).AddProximal(local, global, mu, length, gradient);
        }
    }

    public void Dispose() => (device as IDisposable)?.Dispose();

    /// <summary>The device where the way there repays, and where nothing that a failed verb has written over is an input, which could not be computed anew.</summary>
    private IComputeBackend Who(ReadOnlySpan<TensorPanel> inputs, int length, TensorPanel output = default)
    {
        long bytes = 0;
        bool overwrites = false, onDevice = output.OnDevice;
        foreach (TensorPanel input in inputs)
        {
            bytes += input.Data is null ? 0 : (long)length * (input.DType.BitSize / 8);
            onDevice |= input.OnDevice;
            overwrites |= output.Data is not null && input.Data == output.Data;
        }

        // what lies on the device is out of the processor's reach, and lost with it
        if (onDevice && _failed)
            throw new GpuException($"{description} failed, and the round's tensors lie in its memory.");
        _holdsTensors |= onDevice;
        return !onDevice && (_failed || overwrites || bytes < options.LeastBytes) ? _processor : device;
    }

    private SimdBackend Fail(Exception e)
    {
        string sentence = $"{description} failed: {DeviceFailure.Describe(e)}";
        if (!options.Fallback || _holdsTensors)
            throw new GpuException(sentence, e);
        lock (_gate)
        {
            if (!_failed)
                options.Warning?.Invoke($"{sentence} The processor goes on with its work.");
            _failed = true;
        }

        return _processor;
    }
}
