using FedICU.Compute;
using FedICU.Gpu.Execution;
using FedICU.Memory;

namespace FedICU.Gpu;

// The verbs of robust rules, which the CPU computes: panels in the device's memory are copied to the host in slices.
public sealed unsafe partial class GpuBackend
{
    /// <summary>
    /// Elements of a slice. Chosen: a panel's usual length. Must be a multiple of
    /// <see cref="PanelGeometry.DistanceBlock"/>, so that the sums keep their order.
    /// </summary>
    private const int SliceElements = 1 << 18;

    private readonly SimdBackend _cpu = new();

    /// <inheritdoc/>
    public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
    {
        DevicePanels.RequireOneMemory(inputs, output);
        if (!DevicePanels.AreOnDevice(inputs))
            return _cpu.MiddleMean(inputs, trim, length, output);
        int slice = Math.Min(length, SliceElements), size = output.DType.BitSize / 8;
        using var host = new HostPanels(this, inputs, slice);
        using var result = new NativeBuffer((long)slice * size);
        long nonFinite = 0;
        for (int start = 0; start < length; start += slice)
        {
            int count = Math.Min(slice, length - start);
            byte* target = (byte*)output.Data + (long)start * size, written = output.OnDevice ? result.Pointer : target;
            nonFinite += _cpu.MiddleMean(host.Copy(start, count), trim, count, new TensorPanel(written, output.DType));
            if (output.OnDevice)
                Write((nint)target, new ReadOnlySpan<byte>(written, count * size));
        }

        return nonFinite;
    }

    /// <inheritdoc/>
    public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums)
    {
        DevicePanels.RequireOneMemory(inputs);
        if (!DevicePanels.AreOnDevice(inputs))
        {
            _cpu.AddPairDistances(inputs, length, sums);
            return;
        }

        int slice = Math.Min(length, SliceElements);
        using var host = new HostPanels(this, inputs, slice);
        // a copy that fails must not have changed the sums
        double[] totals = sums.ToArray();
        for (int start = 0; start < length; start += slice)
        {
            int count = Math.Min(slice, length - start);
            _cpu.AddPairDistances(host.Copy(start, count), count, totals);
        }

        totals.CopyTo(sums);
    }

    /// <inheritdoc/>
    public void AddDistances(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
        Span<double> products)
    {
        TensorPanel[] given = [.. inputs, .. ((ReadOnlySpan<TensorPanel>)[origin, direction]).ToArray().Where(panel => panel.Data != null)];
        DevicePanels.RequireOneMemory(given);
        if (!DevicePanels.AreOnDevice(given))
        {
            _cpu.AddDistances(inputs, origin, direction, length, squares, products);
            return;
        }

        int slice = Math.Min(length, SliceElements), count = inputs.Length;
        using var host = new HostPanels(this, given, slice);
        double[] allSquares = squares.ToArray(), allProducts = products.ToArray();
        for (int start = 0; start < length; start += slice)
        {
            TensorPanel[] copies = host.Copy(start, Math.Min(slice, length - start));
            _cpu.AddDistances(
                copies.AsSpan(0, count), origin.Data == null ? default : copies[count], direction.Data == null ? default : copies[^1],
                Math.Min(slice, length - start), allSquares, allProducts);
        }

        allSquares.CopyTo(squares);
        allProducts.CopyTo(products);
    }

    /// <summary>Copies of a slice of panels that are on the device.</summary>
    private sealed class HostPanels : IDisposable
    {
        private readonly GpuBackend _backend;
        private readonly TensorPanel[] _panels, _copies;
        private readonly NativeBuffer[] _buffers;

        public HostPanels(GpuBackend backend, ReadOnlySpan<TensorPanel> panels, int slice)
        {
            (_backend, _panels) = (backend, panels.ToArray());
            _buffers = [.. _panels.Select(panel => new NativeBuffer((long)slice * (panel.DType.BitSize / 8)))];
            _copies = [.. _panels.Select((panel, k) => new TensorPanel(_buffers[k].Pointer, panel.DType))];
        }

        /// <summary>Copies the elements from start on.</summary>
        public TensorPanel[] Copy(int start, int count)
        {
            for (int k = 0; k < _panels.Length; k++)
            {
                int size = _panels[k].DType.BitSize / 8;
                _backend.Read((nint)_panels[k].Data + (nint)start * size, new Span<byte>(_copies[k].Data, count * size));
            }

            return _copies;
        }

        public void Dispose() => Array.ForEach(_buffers, buffer => buffer.Dispose());
    }
}
