using FedICU.Compute;
using FedICU.Gpu.Execution;
using FedICU.Gpu.Kernels;
using FedICU.Memory;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu;

// FedProx's proximal term.
public sealed unsafe partial class GpuBackend
{
    /// <inheritdoc/>
    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        TensorPanel[] panels = [local, global];
        DevicePanels.RequireHostMemory([local, global, gradient]);
        DType dtype = PanelStaging.CommonType(panels);
        bool hasGradient = gradient.Data is not null;
        DType gradientType = hasGradient ? gradient.DType : DType.F64;
        int size = hasGradient ? gradientType.BitSize / 8 : 0;
        double sum = 0;
        // the gradient is changed only after all chunks have succeeded
        using var changed = new NativeBuffer((long)length * size);
        ForEachChunk(Chunk.OfElements(length, panels.Length * (dtype.BitSize / 8) + 2 * size, _chunkBytes), (lane, chunk) =>
        {
            long sums = Math.Min(chunk.Length, ReductionShape.MaxPartialSums), bytes = (long)chunk.Length * size;
            lane.Begin(
                PanelStaging.BytesOf(panels, dtype, chunk) + DeviceLane.Align(bytes),
                PartialSums.ScratchBytes(sums),
                DeviceLane.Align(bytes) + DeviceLane.Align(sizeof(double)));
            DeviceInputs inputs = _staging.Stage(lane, panels, dtype, chunk);
            ArrayView<byte> stagedGradient = lane.Stage(bytes, out Span<byte> hostGradient);
            fixed (byte* first = hostGradient)
            {
                if (hasGradient)
                    chunk.CopyFrom(gradient, gradientType, first);
            }

            lane.Upload();
            ArrayView<double> partial = lane.Scratch<double>(sums), result = lane.Result(1, out double* hostSum);
            ArrayView<byte> gradientResult = lane.Result(bytes, out byte* hostResult);
            _kernels.Proximal(dtype, gradientType)(
                lane.Stream, _grid.ForItems(sums), inputs, mu, chunk.Length, stagedGradient, sums == 1 ? result : partial);
            _partialSums.Add(lane, partial, 1, sums, 1, result);
            if (hasGradient)
                gradientResult.CopyFrom(lane.Stream, stagedGradient);
            return () =>
            {
                sum += *hostSum;
                if (hasGradient)
                    chunk.CopyTo(hostResult, new TensorPanel(changed.Pointer, gradientType));
            };
        });
        if (hasGradient)
            Buffer.MemoryCopy(changed.Pointer, gradient.Data, changed.ByteLength, changed.ByteLength);
        return sum;
    }
}
