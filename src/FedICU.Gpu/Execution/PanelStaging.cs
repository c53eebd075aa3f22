using FedICU.Compute;
using FedICU.Gpu.Kernels;
using ILGPU;

namespace FedICU.Gpu.Execution;

/// <summary>
/// Makes a verb's panels available to kernels: copies panels in host memory to the device, passes panels on the device
/// by address.
/// </summary>
/// <param name="memory">The device's memory.</param>
/// <param name="chunkBytes">The bytes of inputs in host memory that go to the device at once.</param>
internal sealed unsafe class PanelStaging(DeviceMemory memory, long chunkBytes)
{
    /// <summary>
    /// Returns the type that the inputs are staged in: theirs if all have one, else float64, to which each is converted
    /// exactly.
    /// </summary>
    public static DType CommonType(ReadOnlySpan<TensorPanel> inputs)
    {
        DType first = inputs.Length > 0 ? inputs[0].DType : DType.F64;
        foreach (TensorPanel input in inputs)
        {
            if (!input.DType.IsComputed)
                throw Rounding.NotComputed(input.DType);
            if (input.DType != first)
                return DType.F64;
        }

        return first;
    }

    /// <summary>Returns the bytes that <see cref="Stage"/> stages.</summary>
    public static long BytesOf(ReadOnlySpan<TensorPanel> inputs, DType dtype, Chunk chunk) =>
        (DevicePanels.AreOnDevice(inputs) ? 0 : DeviceLane.Align(inputs.Length * BytesOfInput(dtype, chunk)))
        + DeviceLane.Align(inputs.Length * sizeof(long));

    /// <summary>
    /// Returns whether all panels start and end at multiples of <see cref="Words"/>, as staged panels always do.
    /// </summary>
    public static bool ConsistOfWords(ReadOnlySpan<TensorPanel> panels, Chunk chunk)
    {
        foreach (TensorPanel panel in panels)
        {
            if (panel.OnDevice
                && ((nint)panel.Data % Words.Bytes != 0 || (long)chunk.Length * (panel.DType.BitSize / 8) % Words.Bytes != 0))
                return false;
        }

        return true;
    }

    /// <summary>Stages the values of a chunk's groups, inputs x groups.</summary>
    public static ArrayView<double> StageGroups(DeviceLane lane, GroupValues values, int inputs, Chunk chunk, PanelGeometry geometry)
    {
        int groups = (int)chunk.GroupCount(geometry);
        ArrayView<double> onDevice = lane.Stage((long)inputs * groups, out Span<double> host);
        for (int k = 0; k < inputs; k++)
            new ReadOnlySpan<double>(values.Row(k) + chunk.FirstGroup(geometry), groups).CopyTo(host[(k * groups)..]);
        return onDevice;
    }

    /// <summary>
    /// Returns the chunk size for a verb. Inputs on the device need no chunks, as they are not copied.
    /// </summary>
    public long ChunkBytesFor(ReadOnlySpan<TensorPanel> inputs) => DevicePanels.AreOnDevice(inputs) ? long.MaxValue / 2 : chunkBytes;

    /// <summary>Stages a chunk of a verb's inputs.</summary>
    public DeviceInputs Stage(DeviceLane lane, ReadOnlySpan<TensorPanel> inputs, DType dtype, Chunk chunk)
    {
        if (DevicePanels.AreOnDevice(inputs))
            return PassAddresses(lane, inputs, dtype);
        long bytes = BytesOfInput(dtype, chunk);
        ArrayView<byte> data = lane.Stage(inputs.Length * bytes, out Span<byte> host);
        ArrayView<long> offsets = lane.Stage(inputs.Length, out Span<long> hostOffsets);
        fixed (byte* first = host)
        {
            for (int k = 0; k < inputs.Length; k++)
            {
                hostOffsets[k] = k * bytes;
                chunk.CopyFrom(inputs[k], dtype, first + k * bytes);
            }
        }

        return new DeviceInputs { Data = data, Offsets = offsets };
    }

    /// <summary>
    /// Stages a chunk of at most one input, and returns a view that starts at its first element; empty if there is no
    /// input.
    /// </summary>
    public ArrayView<byte> StageSingle(DeviceLane lane, ReadOnlySpan<TensorPanel> input, DType dtype, Chunk chunk) =>
        input.Length == 0 ? ArrayView<byte>.Empty
        : DevicePanels.AreOnDevice(input) ? memory.Addresses.At((nint)input[0].Data, (long)chunk.Length * (dtype.BitSize / 8))
        : Stage(lane, input, dtype, chunk).Data;

    /// <summary>
    /// Returns where a kernel writes an output: its place on the device, or results of the lane that return to the
    /// host.
    /// </summary>
    /// <param name="lane">The lane.</param>
    /// <param name="output">The output.</param>
    /// <param name="bytes">The bytes of the output.</param>
    /// <param name="resultBytes">The bytes of results to take for it, padding included.</param>
    /// <param name="host">The results on the host; null if the output is on the device.</param>
    public ArrayView<byte> PlaceOutput(DeviceLane lane, TensorPanel output, long bytes, long resultBytes, out byte* host)
    {
        host = null;
        return output.OnDevice && output.Data is not null
            ? memory.Addresses.At((nint)output.Data, bytes)
            : lane.Result(resultBytes, out host);
    }

    private static long BytesOfInput(DType dtype, Chunk chunk) => DeviceLane.Align((long)chunk.Length * (dtype.BitSize / 8));

    private DeviceInputs PassAddresses(DeviceLane lane, ReadOnlySpan<TensorPanel> inputs, DType dtype)
    {
        ArrayView<long> offsets = lane.Stage(inputs.Length, out Span<long> addresses);
        for (int k = 0; k < inputs.Length; k++)
        {
            if (inputs[k].DType != dtype)
                throw new ArgumentException("Inputs on the device must all have the same type.", nameof(inputs));
            addresses[k] = (nint)inputs[k].Data;
        }

        return new DeviceInputs { Data = memory.Addresses.At(0, long.MaxValue), Offsets = offsets };
    }
}
