using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Gpu.Execution;
using FedICU.Gpu.Kernels;
using FedICU.Memory;
using ILGPU;

namespace FedICU.Gpu;

// Inner products of pairs of inputs; a sum of squares is the pair of an input with itself.
public sealed unsafe partial class GpuBackend
{
    /// <inheritdoc/>
    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        int[] pairs = new int[2 * inputs.Length];
        for (int k = 0; k < inputs.Length; k++)
            pairs[2 * k] = pairs[2 * k + 1] = k;
        AddPairs(inputs, pairs, geometry, sums);
    }

    /// <inheritdoc/>
    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        int[] pairs = new int[2 * GramPairs.Count(inputs.Length)];
        for (int k = 0; k < inputs.Length; k++)
        {
            for (int j = 0; j <= k; j++)
                (pairs[2 * GramPairs.Index(j, k)], pairs[2 * GramPairs.Index(j, k) + 1]) = (j, k);
        }

        AddPairs(inputs, pairs, geometry, grams);
    }

    private void AddPairs(ReadOnlySpan<TensorPanel> inputs, int[] pairs, PanelGeometry geometry, GroupValues sums)
    {
        DevicePanels.RequireOneMemory(inputs);
        TensorPanel[] panels = inputs.ToArray();
        DType dtype = PanelStaging.CommonType(inputs);
        int count = pairs.Length / 2;
        using var totals = new NativeBuffer((long)count * geometry.Groups * sizeof(double));
        NativeMemory.Clear(totals.Pointer, (nuint)totals.ByteLength);
        // the chunks do not depend on which pairs are asked for, so squares have the same bits in both verbs
        List<Chunk> chunks = Chunk.OfMatrix(
            geometry, panels.Length * (dtype.BitSize / 8), (long)GramPairs.Count(panels.Length) * sizeof(double),
            _staging.ChunkBytesFor(panels));
        ForEachChunk(chunks, (lane, chunk) =>
        {
            bool byColumn = geometry.GroupsAreColumns;
            long groups = chunk.GroupCount(geometry);
            long parts = byColumn ? PartialSums.PartsOfColumn(chunk) : PartialSums.PartsOfRow(chunk);
            long values = count * groups * parts;
            lane.Begin(
                PanelStaging.BytesOf(panels, dtype, chunk) + DeviceLane.Align(pairs.Length * sizeof(int)),
                PartialSums.ScratchBytes(values),
                DeviceLane.Align(count * groups * sizeof(double)));
            DeviceInputs staged = _staging.Stage(lane, panels, dtype, chunk);
            ArrayView<int> stagedPairs = lane.Stage<int>(pairs);
            lane.Upload();
            ArrayView<double> partial = lane.Scratch<double>(values), result = lane.Result(count * groups, out double* host);
            (byColumn ? _kernels.PairsOfColumns(dtype) : _kernels.PairsOfRows(dtype))(
                lane.Stream, _grid.ForItems(values), staged, stagedPairs, chunk.Geometry, parts, parts == 1 ? result : partial);
            _partialSums.Add(lane, partial, count * (byColumn ? 1 : groups), parts, byColumn ? groups : 1, result);
            return () =>
            {
                for (int pair = 0; pair < count; pair++)
                {
                    double* target = (double*)totals.Pointer + (long)pair * geometry.Groups + chunk.FirstGroup(geometry);
                    Add(host + pair * groups, target, groups);
                }
            };
        });
        for (int pair = 0; pair < count; pair++)
            Add((double*)totals.Pointer + (long)pair * geometry.Groups, sums.Row(pair), geometry.Groups);
    }
}
