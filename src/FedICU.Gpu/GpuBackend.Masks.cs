using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Gpu.Execution;
using FedICU.Gpu.Kernels;
using ILGPU;

namespace FedICU.Gpu;

// Importances, the masks made from them, and packing by a mask.
public sealed unsafe partial class GpuBackend
{
    /// <inheritdoc/>
    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        var panels = new ImportancePanels(inputs);
        MagnitudeMoments ofUpdate = update, ofGlobal = global;
        ForEachChunk(Chunk.OfElements(length, panels.BytesPerElement, panels.ChunkBytes(_staging)), (lane, chunk) =>
        {
            long blocks = (chunk.Length + MagnitudeMoments.Block - 1) / MagnitudeMoments.Block;
            long values = blocks * MaskKernels.MomentsPerBlock;
            lane.Begin(panels.StagedBytes(chunk), 0, DeviceLane.Align(values * sizeof(double)));
            DeviceImportance staged = panels.Stage(_staging, lane, chunk);
            lane.Upload();
            ArrayView<double> result = lane.Result(values, out double* host);
            _kernels.Moments(panels.ModelType, panels.MomentumType)(lane.Stream, _grid.ForBlocks(blocks), staged, chunk.Length, result);
            return () =>
            {
                for (long block = 0; block < blocks; block++)
                {
                    long count = Math.Min(MagnitudeMoments.Block, chunk.Length - block * MagnitudeMoments.Block);
                    double* moments = host + block * MaskKernels.MomentsPerBlock;
                    ofUpdate.Merge(count, moments[0], moments[1], moments[2], moments[3]);
                    ofGlobal.Merge(count, moments[4], moments[5], moments[6], moments[7]);
                }
            };
        });
        (update, global) = (ofUpdate, ofGlobal);
    }

    /// <inheritdoc/>
    public long SelectImportant(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        var panels = new ImportancePanels(inputs);
        DevicePanels.RequireHostMemory([momentum]);
        bool hasMomentum = momentum.Data is not null;
        DType momentumType = hasMomentum ? ImportancePanels.MomentumTypeOf(momentum.DType) : DType.F64;
        int momentumSize = hasMomentum ? momentumType.BitSize / 8 : 0;
        DeviceScales scales = ScalesOf(update, global);
        long selected = 0;
        ForEachChunk(Chunk.OfElements(length, panels.BytesPerElement + momentumSize, panels.ChunkBytes(_staging)), (lane, chunk) =>
        {
            int bytes = (chunk.Length + 7) / 8;
            long momentumBytes = (long)chunk.Length * momentumSize;
            lane.Begin(
                panels.StagedBytes(chunk), 0, DeviceLane.Align(bytes) + DeviceLane.Align(momentumBytes) + LaunchGrid.CountBytes);
            DeviceImportance staged = panels.Stage(_staging, lane, chunk);
            lane.Upload();
            ArrayView<byte> bits = lane.Result(bytes, out byte* hostBits);
            ArrayView<byte> momentumResult = lane.Result(momentumBytes, out byte* hostMomentum);
            BlockCounts counts = _grid.TakeCounts(lane, bytes);
            _kernels.Select(panels.ModelType, panels.MomentumType, momentumType)(
                lane.Stream, counts.Grid, staged, chunk.Length, scales, ScalarMath.Tie, bits, momentumResult, counts.OnDevice);
            return () =>
            {
                selected += counts.Sum();
                if (mask is not null)
                    new ReadOnlySpan<byte>(hostBits, bytes).CopyTo(new Span<byte>(mask + chunk.Column / 8, bytes));
                if (!hasMomentum)
                    return;
                if (momentumType == momentum.DType)
                {
                    chunk.CopyTo(hostMomentum, momentum);
                    return;
                }

                for (int i = 0; i < chunk.Length; i++)
                    Rounding.Write(momentum.Data, momentum.DType, chunk.Column + i, ((double*)hostMomentum)[i]);
            };
        });
        return selected;
    }

    /// <inheritdoc/>
    public void Importance(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance,
        double* globalImportance)
    {
        var panels = new ImportancePanels(inputs);
        DeviceScales scales = ScalesOf(update, global);
        long chunkBytes = panels.ChunkBytes(_staging);
        ForEachChunk(Chunk.OfElements(length, panels.BytesPerElement + 2 * sizeof(double), chunkBytes), (lane, chunk) =>
        {
            lane.Begin(panels.StagedBytes(chunk), 0, 2 * DeviceLane.Align((long)chunk.Length * sizeof(double)));
            DeviceImportance staged = panels.Stage(_staging, lane, chunk);
            lane.Upload();
            ArrayView<double> ofUpdate = lane.Result(updateImportance is null ? 0 : chunk.Length, out double* hostUpdate);
            ArrayView<double> ofGlobal = lane.Result(globalImportance is null ? 0 : chunk.Length, out double* hostGlobal);
            _kernels.Importance(panels.ModelType, panels.MomentumType)(
                lane.Stream, _grid.ForItems(chunk.Length), staged, chunk.Length, scales, ofUpdate, ofGlobal);
            return () =>
            {
                CopyImportance(hostUpdate, updateImportance, chunk, sigmoid && update.Spread != 0);
                CopyImportance(hostGlobal, globalImportance, chunk, sigmoid && global.Spread != 0);
            };
        });
    }

    /// <inheritdoc/>
    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        TensorPanel[] panels = [source];
        int size = source.DType.BitSize / 8;
        long count = 0;
        ForEachChunk(Chunk.OfElements(length, 2 * size, _staging.ChunkBytesFor(panels)), (lane, chunk) =>
        {
            const int BytesPerRun = MaskKernels.MaskBytesPerThread;
            int bytes = (chunk.Length + 7) / 8, runs = (bytes + BytesPerRun - 1) / BytesPerRun;
            var bits = new ReadOnlySpan<byte>(mask + chunk.Column / 8, bytes);
            long selected = MaskBits.Count(bits);
            lane.Begin(
                PanelStaging.BytesOf(panels, source.DType, chunk) + DeviceLane.Align(bytes) + DeviceLane.Align(runs * sizeof(int)),
                0,
                DeviceLane.Align(selected * size));
            DeviceInputs staged = _staging.Stage(lane, panels, source.DType, chunk);
            ArrayView<byte> stagedBits = lane.Stage(bits);
            // where each run's elements start: the host counts them, as it reads one bit for every 16 or more that move
            ArrayView<int> starts = lane.Stage(runs, out Span<int> hostStarts);
            for (int run = 0, start = 0; run < runs; run++)
            {
                hostStarts[run] = start;
                start += (int)MaskBits.Count(bits[(run * BytesPerRun)..Math.Min((run + 1) * BytesPerRun, bytes)]);
            }

            lane.Upload();
            ArrayView<byte> result = lane.Result(selected * size, out byte* host);
            if (selected > 0)
                _kernels.Pack(source.DType)(lane.Stream, _grid.ForItems(runs), staged, stagedBits, starts, result);
            return () =>
            {
                Buffer.MemoryCopy(host, (byte*)packed + count * size, selected * size, selected * size);
                count += selected;
            };
        });
        return count;
    }

    private static DeviceScales ScalesOf(ImportanceScale update, ImportanceScale global) => new()
    {
        UpdateCenter = update.Center,
        UpdateSpread = update.Spread,
        GlobalCenter = global.Center,
        GlobalSpread = global.Spread,
    };

    private static void CopyImportance(double* zScores, double* target, Chunk chunk, bool sigmoid)
    {
        if (target is null)
            return;
        // the host computes the sigmoid, with the scalar exp that every backend uses
        for (int i = 0; i < chunk.Length; i++)
            target[chunk.Column + i] = sigmoid ? ScalarMath.Sigmoid(zScores[i]) : zScores[i];
    }
}
