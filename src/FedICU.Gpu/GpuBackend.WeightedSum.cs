using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Gpu.Execution;
using FedICU.Gpu.Kernels;
using ILGPU;

namespace FedICU.Gpu;

// Weighted sums, and counts of elements that are not finite.
public sealed unsafe partial class GpuBackend
{
    /// <inheritdoc/>
    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        ScalarMath.CheckInputs(inputs.Length, weights.Length);
        DevicePanels.RequireOneMemory(inputs, output);
        double scale = SumScale.Of(inputs, weights, divisor);
        // an output that overwrites an input cannot be computed a second time, so each element is checked at once
        bool byElement = scale != 1 && SumScale.Overwrites(inputs, output);
        TensorPanel[] panels = inputs.ToArray();
        double[] factors = weights.ToArray();
        long nonFinite = WeightedSum(panels, factors, divisor, scale, length, output, byElement);
        return nonFinite == 0 || scale == 1 || byElement
            ? nonFinite
            : WeightedSum(panels, factors, divisor, scale, length, output, byElement: true);
    }

    private long WeightedSum(
        TensorPanel[] panels, double[] weights, double divisor, double scale, int length, TensorPanel output, bool byElement)
    {
        DType dtype = PanelStaging.CommonType(panels);
        int outputSize = output.DType.BitSize / 8;
        long nonFinite = 0;
        long chunkBytes = _staging.ChunkBytesFor(panels);
        ForEachChunk(Chunk.OfElements(length, panels.Length * (dtype.BitSize / 8) + outputSize, chunkBytes), (lane, chunk) =>
        {
            // the vectorized kernel writes whole words
            long padded = output.OnDevice ? 0 : (chunk.Length * outputSize + (Words.Bytes - 1L)) / Words.Bytes * Words.Bytes;
            lane.Begin(
                PanelStaging.BytesOf(panels, dtype, chunk) + DeviceLane.Align(panels.Length * sizeof(double)),
                0,
                DeviceLane.Align(padded) + LaunchGrid.CountBytes);
            DeviceInputs inputs = _staging.Stage(lane, panels, dtype, chunk);
            ArrayView<double> factors = lane.Stage<double>(weights);
            lane.Upload();
            ArrayView<byte> result = _staging.PlaceOutput(lane, output, (long)chunk.Length * outputSize, padded, out byte* host);
            BlockCounts counts = _grid.TakeCounts(lane, chunk.Length / 2);
            bool isVectorized = !byElement && dtype == output.DType
                && PanelStaging.ConsistOfWords(panels, chunk) && PanelStaging.ConsistOfWords([output], chunk);
            if (isVectorized)
            {
                _kernels.WeightedSum(dtype)(
                    lane.Stream, counts.Grid, inputs, factors, divisor, chunk.Length, result, counts.OnDevice);
            }
            else
            {
                _kernels.WeightedSumTo(dtype, output.DType)(
                    lane.Stream, counts.Grid, inputs, factors, divisor, scale, chunk.Length, result, counts.OnDevice);
            }

            return () =>
            {
                if (!output.OnDevice)
                    chunk.CopyTo(host, output);
                nonFinite += counts.Sum();
            };
        });
        return nonFinite;
    }

    /// <inheritdoc/>
    public long CountNonFinite(TensorPanel input, int length)
    {
        TensorPanel[] panels = [input];
        long nonFinite = 0;
        ForEachChunk(Chunk.OfElements(length, input.DType.BitSize / 8, _staging.ChunkBytesFor(panels)), (lane, chunk) =>
        {
            lane.Begin(PanelStaging.BytesOf(panels, input.DType, chunk), 0, LaunchGrid.CountBytes);
            DeviceInputs inputs = _staging.Stage(lane, panels, input.DType, chunk);
            lane.Upload();
            BlockCounts counts = _grid.TakeCounts(lane, chunk.Length);
            _kernels.CountNonFinite(input.DType)(lane.Stream, counts.Grid, inputs, chunk.Length, counts.OnDevice);
            return () => nonFinite += counts.Sum();
        });
        return nonFinite;
    }
}
