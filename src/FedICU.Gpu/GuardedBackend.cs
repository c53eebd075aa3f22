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

    public IDisposable? AllocateOnDevice(long bytes, out nint address)
    {
        address = 0;
        return _failed ? null : device.AllocateOnDevice(bytes, out address);
    }

    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        IComputeBackend who = Who(inputs, length, output);
        try
        {
            return who.WeightedSum(inputs, weights, divisor, length, output);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            return Fail(e).WeightedSum(inputs, weights, divisor, length, output);
        }
    }

    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        IComputeBackend who = Who(inputs, geometry.Length);
        try
        {
            who.AddSquares(inputs, geometry, sums);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            Fail(e).AddSquares(inputs, geometry, sums);
        }
    }

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        IComputeBackend who = Who(inputs, geometry.Length);
        try
        {
            who.AddGram(inputs, geometry, grams);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            Fail(e).AddGram(inputs, geometry, grams);
        }
    }

    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        IComputeBackend who = Who(inputs, geometry.Length);
        try
        {
            who.AddProjections(inputs, geometry, a, b, dots);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            Fail(e).AddProjections(inputs, geometry, a, b, dots);
        }
    }

    public long Combine(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output, double* squares)
    {
        IComputeBackend who = Who(inputs, geometry.Length, output);
        try
        {
            return who.Combine(inputs, geometry, coefficients, scales, output, squares);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            return Fail(e).Combine(inputs, geometry, coefficients, scales, output, squares);
        }
    }

    public long CountNonFinite(TensorPanel input, int length)
    {
        IComputeBackend who = Who([input], length);
        try
        {
            return who.CountNonFinite(input, length);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            return Fail(e).CountNonFinite(input, length);
        }
    }

    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        IComputeBackend who = Who([inputs.Global, inputs.Local], length);
        try
        {
            who.AddMoments(inputs, length, ref update, ref global);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            Fail(e).AddMoments(inputs, length, ref update, ref global);
        }
    }

    public long SelectImportant(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        IComputeBackend who = Who([inputs.Global, inputs.Local, inputs.Momentum], length, momentum);
        try
        {
            return who.SelectImportant(inputs, length, update, global, mask, momentum);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            return Fail(e).SelectImportant(inputs, length, update, global, mask, momentum);
        }
    }

    public void Importance(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance, double* globalImportance)
    {
        IComputeBackend who = Who([inputs.Global, inputs.Local], length);
        try
        {
            who.Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            Fail(e).Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);
        }
    }

    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        IComputeBackend who = Who([source], length);
        try
        {
            return who.Pack(source, length, mask, packed);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            return Fail(e).Pack(source, length, mask, packed);
        }
    }

    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        IComputeBackend who = Who([local, global], length);
        try
        {
            return who.AddProximal(local, global, mu, length, gradient);
        }
        catch (Exception e) when (who == device && DeviceFailure.Is(e))
        {
            return Fail(e).AddProximal(local, global, mu, length, gradient);
        }
    }

    public void Dispose() => (device as IDisposable)?.Dispose();

    /// <summary>The device where the way there repays, and where nothing that a failed verb has written over is an input, which could not be computed anew.</summary>
    private IComputeBackend Who(ReadOnlySpan<TensorPanel> inputs, int length, TensorPanel output = default)
    {
        // by the bytes of one input: how many there are depends on how the work is cut
        long bytes = 0;
        bool overwrites = false, onDevice = output.OnDevice;
        foreach (TensorPanel input in inputs)
        {
            bytes = Math.Max(bytes, input.Data is null ? 0 : (long)length * (input.DType.BitSize / 8));
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
