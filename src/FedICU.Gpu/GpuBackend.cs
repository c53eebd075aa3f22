using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Gpu.Kernels;
using FedICU.Memory;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace FedICU.Gpu;

/// <summary>
/// The verbs as ILGPU kernels on a CUDA or OpenCL device. Panels in host memory go there in chunks, through page-locked memory, one under way while the next is prepared.
/// <see cref="IComputeBackend.WeightedSum"/> has the bits of the other backends; other results keep the bound of docs/algorithms.md, Numerics. Where a verb fails,
/// nothing was added to or written in place. Thread-safe.
/// </summary>
public sealed unsafe partial class GpuBackend : IClientBackend, IDisposable
{
    // enough to keep a device busy; each block costs the debugging device much
    private const int MostBlocks = 4096, MostBlocksOnCpu = 2;

    // neighbours that one thread adds; lanes of a row; parts of a fixed reduction shape
    private const int Fold = 64, LanesOfRow = 8192, ThreadsOfRows = 1 << 16, MostSums = 1 << 16;

    private readonly Context _context;
    private readonly Accelerator _accelerator;
    private readonly KernelSet _kernels;
    // an OpenCL kernel keeps the arguments it was given until it is launched, and all threads share it; CUDA takes them with the launch
    private readonly Lock? _launching;
    private readonly ConcurrentBag<DeviceLane> _lanes = [];
    private readonly long _chunkBytes;
    private readonly int _threads, _mostBlocks;
    private readonly Lazy<AddressSpace> _addresses;
    private MemoryBuffer? _spare;
    private int _disposed;

    /// <summary>Takes a device over, and the context it is of.</summary>
    internal GpuBackend(Context context, Accelerator accelerator, string name, long chunkBytes)
    {
        (_context, _accelerator, Name, _chunkBytes) = (context, accelerator, name, chunkBytes);
        _kernels = new KernelSet(accelerator);
        _launching = accelerator.AcceleratorType == AcceleratorType.OpenCL ? new Lock() : null;
        _addresses = new Lazy<AddressSpace>(() => new AddressSpace(accelerator));
        _mostBlocks = accelerator.AcceleratorType == AcceleratorType.CPU ? MostBlocksOnCpu : MostBlocks;
        _threads = 1;
        while (2 * _threads <= Math.Min(Blocks.MostThreads, accelerator.MaxNumThreadsPerGroup))
            _threads *= 2;
    }

    /// <inheritdoc/>
    public string Name { get; }

    object? IComputeBackend.Device => _accelerator;

    // looks at the device's memory cost less than the sums of all pairs
    int IComputeBackend.PairInputs => 0;

    /// <summary>Whether tensors can lie in its memory (<see cref="DeviceTensors"/>): CUDA's.</summary>
    public bool HasAddresses => _accelerator.AcceleratorType is AcceleratorType.Cuda or AcceleratorType.CPU;

    /// <summary>
    /// Holds rounds of a matrix of 2^31 + 6144 elements of BF16 on the device against the processor's. They take 16 GiB of the device's memory and twice as much of the host's.
    /// </summary>
    /// <returns>Whether they were right, and if not, what is wrong or what memory is wanting, in a sentence; null: they were not tried for want of it.</returns>
    public bool? VerifyLongTensor(out string? reason)
    {
        const long Rows = (1L << 31) / LongTensor.Columns + 3;
        long wanted = LongTensor.BytesOf(Rows), here = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, there = _accelerator is CudaAccelerator cuda ? cuda.GetFreeMemory() : 0;
        bool fits = HasAddresses && there >= wanted + _chunkBytes && here >= 2 * wanted;
        reason = fits ? LongTensor.Try(this, Rows)
            : $"{Description}: tensors of more than 2^31 elements were not tried: {wanted >> 30} GiB of a CUDA device and {2 * wanted >> 30} GiB of the host were expected, {there >> 30} and {here >> 30} are there.";
        return fits ? reason is null : null;
    }

    /// <summary>Measures how fast the device copies, once warmed up, the median of seven.</summary>
    /// <param name="bytes">How many are copied.</param>
    /// <returns>Milliseconds within the device's memory, and from page-locked memory of the host to it.</returns>
    public (double WithinDevice, double ToDevice) MeasureCopy(int bytes)
    {
        _accelerator.Bind();
        using var lane = new DeviceLane(_accelerator, Allocate);
        lane.Begin(bytes, 2L * DeviceLane.Align(bytes), 0);
        _ = lane.Stage<byte>(bytes, out _);
        ArrayView<byte> from = lane.Scratch<byte>(bytes), to = lane.Scratch<byte>(bytes);
        return (Median(() => to.CopyFrom(lane.Stream, from)), Median(lane.Upload));

        double Median(Action copy)
        {
            const int Times = 7;
            double[] times = new double[Times + 1];
            for (int i = 0; i < times.Length; i++)
            {
                long start = Stopwatch.GetTimestamp();
                copy();
                lane.Stream.Synchronize();
                times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            }

            return times[1..].Order().ElementAt(Times / 2);
        }
    }

    /// <summary>The device's memory by address.</summary>
    internal AddressSpace Addresses => _addresses.Value;

    /// <summary>Kind and device, for sentences.</summary>
    internal string Description => $"{Name}: {_accelerator.Name}";

    /// <summary>Creates a kind's device, if there is one that passes its self-check against the reference, which takes seconds the first time in a process.</summary>
    /// <param name="kind">How it is programmed.</param>
    /// <param name="options">Which of several, and in what pieces; what is said there of the processor is not heeded.</param>
    /// <param name="backend">The backend, the caller's to dispose of; null where there is none.</param>
    /// <param name="reason">Why there is none, in a sentence.</param>
    public static bool TryCreate(GpuKind kind, GpuOptions? options, [NotNullWhen(true)] out GpuBackend? backend, [NotNullWhen(false)] out string? reason)
    {
        backend = GpuDevices.TryCreate(kind, options ?? new GpuOptions(), gpusOnly: false, out reason, out _);
        return backend is not null;
    }

    /// <inheritdoc/>
    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        ScalarMath.CheckInputs(inputs.Length, weights.Length);
        RequireTogether(inputs, output);
        double scale = SumScale.Of(inputs, weights, divisor);
        // what is written over an input cannot be computed again afterwards
        bool byElement = scale != 1 && SumScale.Overwrites(inputs, output);
        TensorPanel[] panels = inputs.ToArray();
        double[] factors = weights.ToArray();
        long nonFinite = WeightedSum(panels, factors, divisor, scale, length, output, byElement);
        return nonFinite == 0 || scale == 1 || byElement ? nonFinite : WeightedSum(panels, factors, divisor, scale, length, output, byElement: true);
    }

    private long WeightedSum(TensorPanel[] panels, double[] weights, double divisor, double scale, int length, TensorPanel output, bool byElement)
    {
        DType dtype = CommonType(panels);
        int outSize = output.DType.BitSize / 8;
        long nonFinite = 0;
        ForEachChunk(Chunk.OfElements(length, panels.Length * (dtype.BitSize / 8) + outSize, ChunkBytes(panels)), (lane, chunk) =>
        {
            long padded = output.OnDevice ? 0 : (chunk.Length * outSize + 15L) / 16 * 16;
            lane.Begin(StagedBytes(panels, dtype, chunk) + DeviceLane.Align(panels.Length * sizeof(double)), 0, DeviceLane.Align(padded) + CountBytes);
            DeviceInputs there = Stage(lane, panels, dtype, chunk);
            ArrayView<double> weightsThere = lane.Stage<double>(weights);
            lane.Upload();
            ArrayView<byte> result = Result(lane, output, padded, (long)chunk.Length * outSize, out byte* made);
            Counts counts = CountsOf(lane, chunk.Length / 2);
            if (!byElement && dtype == output.DType && IsWhole(panels, chunk) && IsWhole([output], chunk))
                _kernels.WeightedSum(dtype)(lane.Stream, counts.Launch, there, weightsThere, divisor, chunk.Length, result, counts.There);
            else
                _kernels.WeightedSumTo(dtype, output.DType)(lane.Stream, counts.Launch, there, weightsThere, divisor, scale, chunk.Length, result, counts.There);
            return () =>
            {
                if (!output.OnDevice)
                    chunk.CopyTo(made, output);
                nonFinite += counts.Sum();
            };
        });
        return nonFinite;
    }

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
        RequireTogether(inputs);
        TensorPanel[] panels = inputs.ToArray();
        DType dtype = CommonType(inputs);
        int count = pairs.Length / 2;
        using var found = new NativeBuffer((long)count * geometry.Groups * sizeof(double));
        NativeMemory.Clear(found.Pointer, (nuint)found.ByteLength);
        // squares are cut as all pairs are, and have their bits
        ForEachChunk(Chunk.OfMatrix(geometry, panels.Length * (dtype.BitSize / 8), (long)GramPairs.Count(panels.Length) * sizeof(double), ChunkBytes(panels)), (lane, chunk) =>
        {
            bool byColumn = geometry.GroupsAreColumns;
            long groups = chunk.GroupsOf(geometry), parts = byColumn ? (chunk.Rows + Sums.RowsOfThread - 1) / Sums.RowsOfThread : PartsOfRow(chunk);
            long values = count * groups * parts;
            lane.Begin(
                StagedBytes(panels, dtype, chunk) + DeviceLane.Align(pairs.Length * sizeof(int)), FoldBytes(values), DeviceLane.Align(count * groups * sizeof(double)));
            DeviceInputs there = Stage(lane, panels, dtype, chunk);
            ArrayView<int> pairsThere = lane.Stage<int>(pairs);
            lane.Upload();
            ArrayView<double> partial = lane.Scratch<double>(values), result = lane.Result(count * groups, out double* made);
            DeviceGeometry shape = chunk.OnDevice;
            ArrayView<double> first = parts == 1 ? result : partial;
            (byColumn ? _kernels.PairsOfColumns(dtype) : _kernels.PairsOfRows(dtype))(lane.Stream, Launch(values), there, pairsThere, shape, parts, first);
            FoldParts(lane, partial, count * (byColumn ? 1 : groups), parts, byColumn ? groups : 1, result);
            return () =>
            {
                for (int pair = 0; pair < count; pair++)
                    Add(made + pair * groups, (double*)found.Pointer + (long)pair * geometry.Groups + chunk.GroupOf(geometry), groups);
            };
        });
        for (int pair = 0; pair < count; pair++)
            Add((double*)found.Pointer + (long)pair * geometry.Groups, sums.Row(pair), geometry.Groups);
    }

    /// <inheritdoc/>
    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        ScalarMath.CheckSums(inputs.Length, dots.Length);
        RequireTogether(inputs);
        TensorPanel[] panels = inputs.ToArray();
        DType dtype = CommonType(inputs);
        int count = panels.Length;
        double[] found = new double[count];
        bool same = a.Data == b.Data && a.Stride == b.Stride;
        ForEachChunk(Chunk.OfMatrix(geometry, count * (dtype.BitSize / 8), count * (same ? 1 : 2) * sizeof(double), ChunkBytes(panels)), (lane, chunk) =>
        {
            long groups = chunk.GroupsOf(geometry), parts = (chunk.Rows + Sums.RowsOfThread - 1) / Sums.RowsOfThread, lanes = Math.Min(chunk.Columns, LanesOfRow);
            long values = count * parts * lanes;
            lane.Begin(
                StagedBytes(panels, dtype, chunk) + 2 * DeviceLane.Align(count * groups * sizeof(double)), FoldBytes(values), DeviceLane.Align(count * sizeof(double)));
            DeviceInputs there = Stage(lane, panels, dtype, chunk);
            ArrayView<double> scales = Stage(lane, a, count, chunk, geometry), coefficients = same ? scales : Stage(lane, b, count, chunk, geometry);
            lane.Upload();
            ArrayView<double> partial = lane.Scratch<double>(values), result = lane.Result(count, out double* made);
            ArrayView<double> first = parts * lanes == 1 ? result : partial;
            first.MemSetToZero(lane.Stream);
            _kernels.Projections(dtype, geometry.GroupsAreColumns)(lane.Stream, Launch(parts * lanes), there, scales, coefficients, chunk.OnDevice, parts, lanes, first);
            FoldParts(lane, partial, count, parts * lanes, 1, result);
            return () =>
            {
                for (int k = 0; k < count; k++)
                    found[k] += made[k];
            };
        });
        for (int k = 0; k < count; k++)
            dots[k] += found[k];
    }

    /// <inheritdoc/>
    public long Combine(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output, double* squares)
    {
        ScalarMath.CheckInputs(inputs.Length, inputs.Length);
        RequireTogether(inputs, output);
        TensorPanel[] panels = inputs.ToArray();
        DType dtype = CommonType(inputs), outType = output.Data is null ? DType.F64 : output.DType;
        int count = panels.Length, outSize = output.Data is null ? 0 : outType.BitSize / 8;
        long nonFinite = 0;
        using var found = new NativeBuffer(squares is null ? 0 : (long)geometry.Groups * sizeof(double));
        NativeMemory.Clear(found.Pointer, (nuint)found.ByteLength);
        ForEachChunk(Chunk.OfMatrix(geometry, count * (dtype.BitSize / 8) + outSize, (count + 2) * sizeof(double), ChunkBytes(panels)), (lane, chunk) =>
        {
            bool byColumn = geometry.GroupsAreColumns;
            long groups = chunk.GroupsOf(geometry), parts = (chunk.Rows + Sums.RowsOfThread - 1) / Sums.RowsOfThread;
            long partsOfSquares = squares is null ? 0 : byColumn ? parts : PartsOfRow(chunk);
            // rows' squares are summed from the combination itself
            bool keeps = squares is not null && !byColumn;
            lane.Begin(
                StagedBytes(panels, dtype, chunk) + DeviceLane.Align(count * groups * sizeof(double)) + DeviceLane.Align(groups * sizeof(double)) + 2 * DeviceLane.Align(sizeof(long)),
                FoldBytes(partsOfSquares * groups) + (keeps ? DeviceLane.Align((long)chunk.Length * sizeof(double)) : 0),
                (output.OnDevice ? 0 : DeviceLane.Align((long)chunk.Length * outSize)) + DeviceLane.Align(groups * sizeof(double)) + CountBytes);
            DeviceInputs there = Stage(lane, panels, dtype, chunk);
            ArrayView<double> factors = Stage(lane, coefficients, count, chunk, geometry);
            ArrayView<double> scalesThere = scales is null ? ArrayView<double>.Empty : Stage(lane, new GroupValues(scales, 0), 1, chunk, geometry);
            ArrayView<long> origin = lane.Stage<long>([0]);
            ArrayView<int> onePair = lane.Stage<int>([0, 0]);
            lane.Upload();
            ArrayView<byte> result = Result(lane, output, (long)chunk.Length * outSize, (long)chunk.Length * outSize, out byte* made);
            ArrayView<double> sums = lane.Result(squares is null ? 0 : groups, out double* madeSquares), partial = lane.Scratch<double>(partsOfSquares * groups);
            ArrayView<double> first = partsOfSquares == 1 ? sums : partial;
            Counts counts = CountsOf(lane, parts * chunk.Columns);
            DeviceGeometry shape = chunk.OnDevice;
            if (keeps)
            {
                ArrayView<byte> combination = lane.Scratch<byte>((long)chunk.Length * sizeof(double));
                _kernels.Combine(dtype, DType.F64, byColumn)(lane.Stream, counts.Launch, there, factors, ArrayView<double>.Empty, shape, parts, combination, ArrayView<double>.Empty, counts.There);
                _kernels.PairsOfRows(DType.F64)(
                    lane.Stream, Launch(groups * partsOfSquares), new DeviceInputs { Data = combination, Offsets = origin }, onePair, shape, partsOfSquares, first);
            }

            if (outSize > 0 || !keeps)
            {
                _kernels.Combine(dtype, outType, byColumn)(
                    lane.Stream, counts.Launch, there, factors, scalesThere, shape, parts, result, keeps || squares is null ? ArrayView<double>.Empty : first, counts.There);
            }

            if (squares is not null)
                FoldParts(lane, partial, byColumn ? 1 : groups, partsOfSquares, byColumn ? groups : 1, sums);
            return () =>
            {
                if (outSize > 0 && !output.OnDevice)
                    chunk.CopyTo(made, output);
                nonFinite += outSize > 0 ? counts.Sum() : 0;

                if (squares is not null)
                    Add(madeSquares, (double*)found.Pointer + chunk.GroupOf(geometry), groups);
            };
        });
        if (squares is not null)
            Add((double*)found.Pointer, squares, geometry.Groups);
        return nonFinite;
    }

    /// <inheritdoc/>
    public long CountNonFinite(TensorPanel input, int length)
    {
        TensorPanel[] panels = [input];
        long nonFinite = 0;
        ForEachChunk(Chunk.OfElements(length, input.DType.BitSize / 8, ChunkBytes(panels)), (lane, chunk) =>
        {
            lane.Begin(StagedBytes(panels, input.DType, chunk), 0, CountBytes);
            DeviceInputs there = Stage(lane, panels, input.DType, chunk);
            lane.Upload();
            Counts counts = CountsOf(lane, chunk.Length);
            _kernels.CountNonFinite(input.DType)(lane.Stream, counts.Launch, there, chunk.Length, counts.There);
            return () => nonFinite += counts.Sum();
        });
        return nonFinite;
    }

    IDisposable? IComputeBackend.AllocateOnDevice(long bytes, out nint address)
    {
        // one is kept for the next tensor: to take memory and give it back costs a device more than a small tensor's sums
        MemoryBuffer? memory = Interlocked.Exchange(ref _spare, null);
        try
        {
            if (memory?.LengthInBytes < bytes)
            {
                memory.Dispose();
                memory = null;
            }

            memory ??= Allocate(bytes);
            address = memory.NativePtr;
            return new Lent(this, memory);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            // who can do without goes on; a device that is lost will say so again
            address = 0;
            return null;
        }
    }

    /// <summary>Memory on the device; where none is left, what no verb uses is given back first.</summary>
    internal MemoryBuffer1D<byte, Stride1D.Dense> Allocate(long bytes)
    {
        _accelerator.Bind();
        try
        {
            return _accelerator.Allocate1D<byte>(bytes);
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            if (!Trim())
                throw;
        }

        return _accelerator.Allocate1D<byte>(bytes);
    }

    /// <summary>Gives back what is kept for later verbs; whether there was anything.</summary>
    private bool Trim()
    {
        MemoryBuffer? spare = Interlocked.Exchange(ref _spare, null);
        DeviceFailure.Free(spare);
        bool any = spare is not null;
        for (; _lanes.TryTake(out DeviceLane? lane); any = true)
            lane.Dispose();
        return any;
    }

    /// <summary>Copies from an address of the device.</summary>
    internal void Read(nint address, Span<byte> destination)
    {
        fixed (byte* first = destination)
        {
            byte* to = first;
            ForEachChunk(Chunk.OfElements(destination.Length, 1, _chunkBytes), (lane, chunk) =>
            {
                lane.Begin(0, 0, DeviceLane.Align(chunk.Length));
                Addresses.At(address + chunk.Column, chunk.Length).CopyTo(lane.Stream, lane.Result(chunk.Length, out byte* made));
                return () => new ReadOnlySpan<byte>(made, chunk.Length).CopyTo(new Span<byte>(to + chunk.Column, chunk.Length));
            });
        }
    }

    /// <summary>Copies to an address of the device.</summary>
    internal void Write(nint address, ReadOnlySpan<byte> source)
    {
        fixed (byte* first = source)
        {
            byte* from = first;
            ForEachChunk(Chunk.OfElements(source.Length, 1, _chunkBytes), (lane, chunk) =>
            {
                lane.Begin(DeviceLane.Align(chunk.Length), 0, 0);
                ArrayView<byte> staged = lane.Stage(new ReadOnlySpan<byte>(from + chunk.Column, chunk.Length));
                lane.Upload();
                staged.CopyTo(lane.Stream, Addresses.At(address + chunk.Column, chunk.Length));
                return () => { };
            });
        }
    }

    /// <summary>Waits for nothing: no verb may be under way.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        Trim();
        if (_addresses.IsValueCreated)
            DeviceFailure.Free(_addresses.Value);
        DeviceFailure.Free(_accelerator);
        DeviceFailure.Free(_context);
    }

    private static long CountBytes => DeviceLane.Align(MostBlocks * sizeof(int));

    /// <summary>Runs a verb's chunks on two lanes by turns: <paramref name="work"/> stages and starts, and returns what is done with the results, in the chunks' order.</summary>
    private void ForEachChunk(List<Chunk> chunks, Func<DeviceLane, Chunk, Action> work)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        if (chunks.Count == 0)
            return;
        _accelerator.Bind();
        var lanes = new List<DeviceLane>();
        bool done = false;
        try
        {
            while (lanes.Count < Math.Min(chunks.Count, 2))
                lanes.Add(_lanes.TryTake(out DeviceLane? pooled) ? pooled : new DeviceLane(_accelerator, Allocate));
            for (int i = 0; i < chunks.Count; i++)
            {
                DeviceLane lane = lanes[i % lanes.Count];
                lane.Finish();
                _launching?.Enter();
                try
                {
                    lane.Download(work(lane, chunks[i]));
                }
                finally
                {
                    _launching?.Exit();
                }
            }

            for (int i = 0; i < lanes.Count; i++)
                lanes[(chunks.Count + i) % lanes.Count].Finish();
            done = true;
        }
        finally
        {
            foreach (DeviceLane lane in lanes)
            {
                if (done)
                    _lanes.Add(lane);
                else
                    Discard(lane);
            }
        }
    }

    /// <summary>After a failure a lane may be of no use; what else fails there is of no interest.</summary>
    private static void Discard(DeviceLane lane)
    {
        try
        {
            lane.Abandon();
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
        }

        lane.Dispose();
    }

    private KernelConfig Launch(long items) => new((int)Math.Clamp((items + _threads - 1) / _threads, 1, _mostBlocks), _threads);

    private Counts CountsOf(DeviceLane lane, long items)
    {
        int blocks = Launch(items).GridDim.X;
        ArrayView<int> there = lane.Result(blocks, out int* here);
        return new Counts(new KernelConfig(blocks, _threads), there, here);
    }

    private static long PartsOfRow(Chunk chunk) => Math.Min(chunk.Columns, Math.Clamp(ThreadsOfRows / chunk.Rows, Fold, LanesOfRow));

    private static long FoldBytes(long values)
    {
        long bytes = DeviceLane.Align(values * sizeof(double));
        for (; values > 1; values = (values + Fold - 1) / Fold)
            bytes += DeviceLane.Align((values + Fold - 1) / Fold * sizeof(double)) + DeviceLane.Align(values / Fold * sizeof(double));
        return bytes + values * sizeof(double);
    }

    /// <summary>Adds outer x count x inner numbers over the count, in steps of <see cref="Fold"/>; nothing where there is one of each.</summary>
    private void FoldParts(DeviceLane lane, ArrayView<double> partial, long outer, long count, long inner, ArrayView<double> result)
    {
        while (count > 1)
        {
            long left = (count + Fold - 1) / Fold;
            ArrayView<double> folded = left == 1 ? result : lane.Scratch<double>(outer * left * inner);
            _kernels.Fold()(lane.Stream, Launch(folded.Length), partial, count, inner, Fold, folded);
            (partial, count) = (folded, left);
        }
    }

    private static void Add(double* values, double* sums, long count)
    {
        for (long i = 0; i < count; i++)
            sums[i] += values[i];
    }

    private static DType CommonType(ReadOnlySpan<TensorPanel> inputs)
    {
        DType first = inputs.Length > 0 ? inputs[0].DType : DType.F64;
        foreach (TensorPanel input in inputs)
        {
            if (!input.DType.IsComputed)
                throw Rounding.NotComputed(input.DType);
            // each is widened on the way, exactly, as a kernel would
            if (input.DType != first)
                return DType.F64;
        }

        return first;
    }

    private static bool AreOnDevice(ReadOnlySpan<TensorPanel> inputs) => inputs.Length > 0 && inputs[0].OnDevice;

    // what is on the device already is taken as it is
    private long ChunkBytes(ReadOnlySpan<TensorPanel> inputs) => AreOnDevice(inputs) ? long.MaxValue / 2 : _chunkBytes;

    private static long StagedBytes(ReadOnlySpan<TensorPanel> inputs, DType dtype, Chunk chunk) =>
        (AreOnDevice(inputs) ? 0 : DeviceLane.Align(inputs.Length * DeviceLane.Align((long)chunk.Length * (dtype.BitSize / 8)))) + DeviceLane.Align(inputs.Length * sizeof(long));

    /// <summary>Whether the panels begin and end with whole sixteen bytes; what is staged does.</summary>
    private static bool IsWhole(ReadOnlySpan<TensorPanel> panels, Chunk chunk)
    {
        foreach (TensorPanel panel in panels)
        {
            if (panel.OnDevice && ((nint)panel.Data % 16 != 0 || (long)chunk.Length * (panel.DType.BitSize / 8) % 16 != 0))
                return false;
        }

        return true;
    }

    /// <summary>Where an output goes: to its own place on the device, or to memory that comes back.</summary>
    private ArrayView<byte> Result(DeviceLane lane, TensorPanel output, long staged, long bytes, out byte* made)
    {
        made = null;
        return output.OnDevice && output.Data is not null ? Addresses.At((nint)output.Data, bytes) : lane.Result(staged, out made);
    }

    /// <summary>Refuses panels on the device among others, and outputs there of inputs that are not.</summary>
    private static void RequireTogether(ReadOnlySpan<TensorPanel> inputs, TensorPanel output = default)
    {
        bool onDevice = AreOnDevice(inputs);
        foreach (TensorPanel input in inputs)
        {
            if (input.OnDevice != onDevice || output.OnDevice && !onDevice)
                throw new ArgumentException("Panels on the device are all inputs of a verb, or none is; and an output lies there only with them.", nameof(inputs));
        }
    }

    private DeviceInputs Stage(DeviceLane lane, ReadOnlySpan<TensorPanel> inputs, DType dtype, Chunk chunk)
    {
        if (AreOnDevice(inputs))
            return Take(lane, inputs, dtype);
        long each = DeviceLane.Align((long)chunk.Length * (dtype.BitSize / 8));
        ArrayView<byte> there = lane.Stage(inputs.Length * each, out Span<byte> here);
        ArrayView<long> offsets = lane.Stage(inputs.Length, out Span<long> places);
        fixed (byte* first = here)
        {
            for (int k = 0; k < inputs.Length; k++)
            {
                places[k] = k * each;
                chunk.CopyFrom(inputs[k], dtype, first + k * each);
            }
        }

        return new DeviceInputs { Data = there, Offsets = offsets };
    }

    private DeviceInputs Take(DeviceLane lane, ReadOnlySpan<TensorPanel> inputs, DType dtype)
    {
        ArrayView<long> offsets = lane.Stage(inputs.Length, out Span<long> places);
        for (int k = 0; k < inputs.Length; k++)
        {
            if (!inputs[k].OnDevice || inputs[k].DType != dtype)
                throw new ArgumentException("Inputs on the device are all there, and of one type.", nameof(inputs));
            places[k] = (nint)inputs[k].Data;
        }

        return new DeviceInputs { Data = Addresses.At(0, long.MaxValue), Offsets = offsets };
    }

    /// <summary>The chunk's groups of the values.</summary>
    private static ArrayView<double> Stage(DeviceLane lane, GroupValues values, int inputs, Chunk chunk, PanelGeometry geometry)
    {
        int groups = (int)chunk.GroupsOf(geometry);
        ArrayView<double> there = lane.Stage((long)inputs * groups, out Span<double> here);
        for (int k = 0; k < inputs; k++)
            new ReadOnlySpan<double>(values.Row(k) + chunk.GroupOf(geometry), groups).CopyTo(here[(k * groups)..]);
        return there;
    }

    /// <summary>Memory that goes back when it is disposed of.</summary>
    private sealed class Lent(GpuBackend backend, MemoryBuffer memory) : IDisposable
    {
        public void Dispose()
        {
            DeviceFailure.Free(Interlocked.Exchange(ref backend._spare, memory));
            if (backend._disposed != 0)
                DeviceFailure.Free(Interlocked.Exchange(ref backend._spare, null));
        }
    }

    /// <summary>Counts by block, and how the kernel that makes them is started.</summary>
    private readonly struct Counts(KernelConfig launch, ArrayView<int> there, int* here)
    {
        public KernelConfig Launch => launch;

        public ArrayView<int> There => there;

        public long Sum()
        {
            long sum = 0;
            for (int i = 0; i < (int)There.Length; i++)
                sum += here[i];
            return sum;
        }
    }
}
