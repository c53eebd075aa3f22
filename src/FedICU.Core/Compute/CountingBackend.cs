namespace FedICU.Compute;

/// <summary>Wraps a backend for one round: counts the bytes of the inputs of each verb that has finished.</summary>
internal sealed unsafe class CountingBackend(IComputeBackend backend, RoundWork work) : IComputeBackend
{
    public string Name => backend.Name;

    public object? Device => backend.Device;

    public int PairInputs => backend.PairInputs;

    public int GetPanelElements(int inputs) => backend.GetPanelElements(inputs);

    public int GetPanelElementsOnDevice(bool outputOnDevice) => backend.GetPanelElementsOnDevice(outputOnDevice);

    public IDisposable? AllocateOnDevice(long bytes, out nint address) => backend.AllocateOnDevice(bytes, out address);

    public long WeightedSum(
        ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        long nonFinite = backend.WeightedSum(inputs, weights, divisor, length, output);
        Count(inputs, length);
        return nonFinite;
    }

    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        backend.AddSquares(inputs, geometry, sums);
        Count(inputs, geometry.Length);
    }

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        backend.AddGram(inputs, geometry, grams);
        Count(inputs, geometry.Length);
    }

    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        backend.AddProjections(inputs, geometry, a, b, dots);
        Count(inputs, geometry.Length);
    }

    public long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
        double* squares)
    {
        long nonFinite = backend.Combine(inputs, geometry, coefficients, scales, output, squares);
        Count(inputs, geometry.Length);
        return nonFinite;
    }

    public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
    {
        long nonFinite = backend.MiddleMean(inputs, trim, length, output);
        CountOnCpu(inputs, length);
        return nonFinite;
    }

    public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums)
    {
        backend.AddPairDistances(inputs, length, sums);
        CountOnCpu(inputs, length);
    }

    public void AddDistances(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
        Span<double> products)
    {
        backend.AddDistances(inputs, origin, direction, length, squares, products);
        CountOnCpu(inputs, length);
    }

    public long CountNonFinite(TensorPanel input, int length)
    {
        long nonFinite = backend.CountNonFinite(input, length);
        Count([input], length);
        return nonFinite;
    }

    /// <summary>Counts a verb that some devices leave to the CPU.</summary>
    private void CountOnCpu(ReadOnlySpan<TensorPanel> inputs, int length)
    {
        if (backend is IPartialDevice)
            work.AddOnCpu(inputs, length);
        else
            Count(inputs, length);
    }

    private void Count(ReadOnlySpan<TensorPanel> inputs, int length) => work.Add(backend.Name, RoundWork.BytesOf(inputs, length));
}
