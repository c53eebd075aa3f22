using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Gpu.Execution;
using FedICU.Gpu.Kernels;
using FedICU.Memory;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu;

// Linear combinations with a coefficient for each group, and inner products with them.
public sealed unsafe partial class GpuBackend
{
    /// <inheritdoc/>
    public void AddProjections(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        ScalarMath.CheckSums(inputs.Length, dots.Length);
        DevicePanels.RequireOneMemory(inputs);
        TensorPanel[] panels = inputs.ToArray();
        DType dtype = PanelStaging.CommonType(inputs);
        int count = panels.Length;
        double[] totals = new double[count];
        bool areSame = a.Data == b.Data && a.Stride == b.Stride;
        List<Chunk> chunks = Chunk.OfMatrix(
            geometry, count * (dtype.BitSize / 8), count * (areSame ? 1 : 2) * sizeof(double), _staging.ChunkBytesFor(panels));
        ForEachChunk(chunks, (lane, chunk) =>
        {
            long groups = chunk.GroupCount(geometry), parts = PartialSums.PartsOfColumn(chunk);
            long lanes = Math.Min(chunk.Columns, ReductionShape.MaxPartsPerRow), values = count * parts * lanes;
            lane.Begin(
                PanelStaging.BytesOf(panels, dtype, chunk) + 2 * DeviceLane.Align(count * groups * sizeof(double)),
                PartialSums.ScratchBytes(values),
                DeviceLane.Align(count * sizeof(double)));
            DeviceInputs staged = _staging.Stage(lane, panels, dtype, chunk);
            ArrayView<double> stagedA = PanelStaging.StageGroups(lane, a, count, chunk, geometry);
            ArrayView<double> stagedB = areSame ? stagedA : PanelStaging.StageGroups(lane, b, count, chunk, geometry);
            lane.Upload();
            ArrayView<double> partial = lane.Scratch<double>(values), result = lane.Result(count, out double* host);
            ArrayView<double> sums = parts * lanes == 1 ? result : partial;
            sums.MemSetToZero(lane.Stream);
            _kernels.Projections(dtype, geometry.GroupsAreColumns)(
                lane.Stream, _grid.ForItems(parts * lanes), staged, stagedA, stagedB, chunk.Geometry, parts, lanes, sums);
            _partialSums.Add(lane, partial, count, parts * lanes, 1, result);
            return () =>
            {
                for (int k = 0; k < count; k++)
                    totals[k] += host[k];
            };
        });
        for (int k = 0; k < count; k++)
            dots[k] += totals[k];
    }

    /// <inheritdoc/>
    public long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
        double* squares)
    {
        ScalarMath.CheckInputs(inputs.Length, inputs.Length);
        DevicePanels.RequireOneMemory(inputs, output);
        TensorPanel[] panels = inputs.ToArray();
        bool byColumn = geometry.GroupsAreColumns, hasOutput = output.Data is not null, hasSquares = squares is not null;
        // a column's squares are added up by the kernel that combines, a row's by another kernel from a float64
        // combination
        bool keepsCombination = hasSquares && !byColumn;
        DType dtype = PanelStaging.CommonType(inputs), outputType = hasOutput ? output.DType : DType.F64;
        int count = panels.Length, outputSize = hasOutput ? outputType.BitSize / 8 : 0;
        long nonFinite = 0;
        using var totals = new NativeBuffer(hasSquares ? (long)geometry.Groups * sizeof(double) : 0);
        NativeMemory.Clear(totals.Pointer, (nuint)totals.ByteLength);
        List<Chunk> chunks = Chunk.OfMatrix(
            geometry, count * (dtype.BitSize / 8) + outputSize, (count + 2) * sizeof(double), _staging.ChunkBytesFor(panels));
        ForEachChunk(chunks, (lane, chunk) =>
        {
            DeviceGeometry shape = chunk.Geometry;
            long groups = chunk.GroupCount(geometry), parts = PartialSums.PartsOfColumn(chunk);
            long partsOfSquares = !hasSquares ? 0 : byColumn ? parts : PartialSums.PartsOfRow(chunk);
            long combinationBytes = keepsCombination ? (long)chunk.Length * sizeof(double) : 0;
            long outputBytes = (long)chunk.Length * outputSize;
            lane.Begin(
                PanelStaging.BytesOf(panels, dtype, chunk) + DeviceLane.Align(count * groups * sizeof(double))
                + DeviceLane.Align(groups * sizeof(double)) + 2 * DeviceLane.Align(sizeof(long)),
                PartialSums.ScratchBytes(partsOfSquares * groups) + DeviceLane.Align(combinationBytes),
                (output.OnDevice ? 0 : DeviceLane.Align(outputBytes)) + DeviceLane.Align(groups * sizeof(double)) + LaunchGrid.CountBytes);
            DeviceInputs staged = _staging.Stage(lane, panels, dtype, chunk);
            ArrayView<double> stagedCoefficients = PanelStaging.StageGroups(lane, coefficients, count, chunk, geometry);
            ArrayView<double> stagedScales = scales is null
                ? ArrayView<double>.Empty
                : PanelStaging.StageGroups(lane, new GroupValues(scales, 0), 1, chunk, geometry);
            ArrayView<long> zeroOffset = lane.Stage<long>([0]);
            ArrayView<int> onePair = lane.Stage<int>([0, 0]);
            lane.Upload();
            ArrayView<byte> result = _staging.PlaceOutput(lane, output, outputBytes, outputBytes, out byte* host);
            ArrayView<double> sums = lane.Result(hasSquares ? groups : 0, out double* hostSums);
            ArrayView<double> partial = lane.Scratch<double>(partsOfSquares * groups);
            ArrayView<double> first = partsOfSquares == 1 ? sums : partial;
            BlockCounts counts = _grid.TakeCounts(lane, parts * chunk.Columns);
            if (keepsCombination)
            {
                ArrayView<byte> combination = lane.Scratch<byte>(combinationBytes);
                _kernels.Combine(dtype, DType.F64, byColumn)(
                    lane.Stream, counts.Grid, staged, stagedCoefficients, ArrayView<double>.Empty, shape, parts, combination,
                    ArrayView<double>.Empty, counts.OnDevice);
                _kernels.PairsOfRows(DType.F64)(
                    lane.Stream, _grid.ForItems(groups * partsOfSquares),
                    new DeviceInputs { Data = combination, Offsets = zeroOffset }, onePair, shape, partsOfSquares, first);
            }

            if (hasOutput || !keepsCombination)
            {
                _kernels.Combine(dtype, outputType, byColumn)(
                    lane.Stream, counts.Grid, staged, stagedCoefficients, stagedScales, shape, parts, result,
                    hasSquares && byColumn ? first : ArrayView<double>.Empty, counts.OnDevice);
            }

            if (hasSquares)
                _partialSums.Add(lane, partial, byColumn ? 1 : groups, partsOfSquares, byColumn ? groups : 1, sums);
            return () =>
            {
                if (hasOutput)
                {
                    if (!output.OnDevice)
                        chunk.CopyTo(host, output);
                    nonFinite += counts.Sum();
                }

                if (hasSquares)
                    Add(hostSums, (double*)totals.Pointer + chunk.FirstGroup(geometry), groups);
            };
        });
        if (hasSquares)
            Add((double*)totals.Pointer, squares, geometry.Groups);
        return nonFinite;
    }
}
