using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Gpu.Kernels;
using FedICU.Memory;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu;

/// <summary>The verbs of the client's side.</summary>
public sealed unsafe partial class GpuBackend
{
    /// <inheritdoc/>
    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        var panels = new ImportancePanels(inputs);
        MagnitudeMoments ofUpdate = update, ofGlobal = global;
        ForEachChunk(Chunk.OfElements(length, panels.BytesOfElement, panels.ChunkBytes(this)), (lane, chunk) =>
        {
            long blocks = (chunk.Length + MagnitudeMoments.Block - 1) / MagnitudeMoments.Block, values = blocks * Client.MomentsOfBlock;
            lane.Begin(panels.StagedBytes(chunk), 0, DeviceLane.Align(values * sizeof(double)));
            DeviceImportance there = panels.Stage(this, lane, chunk);
            lane.Upload();
            ArrayView<double> result = lane.Result(values, out double* made);
            var launch = new KernelConfig((int)Math.Min(blocks, _mostBlocks), _threads);
            _kernels.Moments(panels.Type, panels.MomentumType)(lane.Stream, launch, there, chunk.Length, result);
            return () =>
            {
                for (long block = 0; block < blocks; block++)
                {
                    long count = Math.Min(MagnitudeMoments.Block, chunk.Length - block * MagnitudeMoments.Block);
                    double* of = made + block * Client.MomentsOfBlock;
                    ofUpdate.Merge(count, of[0], of[1], of[2], of[3]);
                    ofGlobal.Merge(count, of[4], of[5], of[6], of[7]);
                }
            };
        });
        (update, global) = (ofUpdate, ofGlobal);
    }

    /// <inheritdoc/>
    public long SelectImportant(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        var panels = new ImportancePanels(inputs);
        RequireHost([momentum]);
        bool keeps = momentum.Data is not null;
        DType momentumType = keeps && IsMomentumType(momentum.DType) ? momentum.DType : DType.F64;
        int momentumSize = keeps ? momentumType.BitSize / 8 : 0;
        DeviceScales scales = ScalesOf(update, global);
        long selected = 0;
        ForEachChunk(Chunk.OfElements(length, panels.BytesOfElement + momentumSize, panels.ChunkBytes(this)), (lane, chunk) =>
        {
            int bytes = (chunk.Length + 7) / 8;
            lane.Begin(panels.StagedBytes(chunk), 0, DeviceLane.Align(bytes) + DeviceLane.Align((long)chunk.Length * momentumSize) + CountBytes);
            DeviceImportance there = panels.Stage(this, lane, chunk);
            lane.Upload();
            ArrayView<byte> bits = lane.Result(bytes, out byte* made), kept = lane.Result((long)chunk.Length * momentumSize, out byte* madeMomentum);
            Counts counts = CountsOf(lane, bytes);
            _kernels.Select(panels.Type, panels.MomentumType, momentumType)(
                lane.Stream, counts.Launch, there, chunk.Length, scales, ScalarMath.Tie, bits, kept, counts.There);
            return () =>
            {
                selected += counts.Sum();
                if (mask is not null)
                    new ReadOnlySpan<byte>(made, bytes).CopyTo(new Span<byte>(mask + chunk.Column / 8, bytes));
                for (int i = 0; i < chunk.Length && keeps && momentumType != momentum.DType; i++)
                    Rounding.Write(momentum.Data, momentum.DType, chunk.Column + i, ((double*)madeMomentum)[i]);
                if (keeps && momentumType == momentum.DType)
                    chunk.CopyTo(madeMomentum, momentum);
            };
        });
        return selected;
    }

    /// <inheritdoc/>
    public void Importance(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance, double* globalImportance)
    {
        var panels = new ImportancePanels(inputs);
        DeviceScales scales = ScalesOf(update, global);
        ForEachChunk(Chunk.OfElements(length, panels.BytesOfElement + 2 * sizeof(double), panels.ChunkBytes(this)), (lane, chunk) =>
        {
            lane.Begin(panels.StagedBytes(chunk), 0, 2 * DeviceLane.Align((long)chunk.Length * sizeof(double)));
            DeviceImportance there = panels.Stage(this, lane, chunk);
            lane.Upload();
            ArrayView<double> ofUpdate = lane.Result(updateImportance is null ? 0 : chunk.Length, out double* madeUpdate);
            ArrayView<double> ofGlobal = lane.Result(globalImportance is null ? 0 : chunk.Length, out double* madeGlobal);
            _kernels.Importance(panels.Type, panels.MomentumType)(lane.Stream, Launch(chunk.Length), there, chunk.Length, scales, ofUpdate, ofGlobal);
            return () =>
            {
                Copy(madeUpdate, updateImportance, chunk, sigmoid && update.Spread != 0);
                Copy(madeGlobal, globalImportance, chunk, sigmoid && global.Spread != 0);
            };
        });
    }

    /// <inheritdoc/>
    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        TensorPanel[] panels = [source];
        int size = source.DType.BitSize / 8;
        long count = 0;
        ForEachChunk(Chunk.OfElements(length, 2 * size, ChunkBytes(panels)), (lane, chunk) =>
        {
            int bytes = (chunk.Length + 7) / 8, runs = (bytes + Client.BytesOfRun - 1) / Client.BytesOfRun;
            var bits = new ReadOnlySpan<byte>(mask + chunk.Column / 8, bytes);
            long selected = MaskBits.Count(bits);
            lane.Begin(StagedBytes(panels, source.DType, chunk) + DeviceLane.Align(bytes) + DeviceLane.Align(runs * sizeof(int)), 0, DeviceLane.Align(selected * size));
            DeviceInputs there = Stage(lane, panels, source.DType, chunk);
            ArrayView<byte> bitsThere = lane.Stage(bits);
            // where each run's elements begin: a bit in eight or more of what moves
            ArrayView<int> before = lane.Stage(runs, out Span<int> places);
            for (int run = 0, place = 0; run < runs; run++)
            {
                places[run] = place;
                place += (int)MaskBits.Count(bits[(run * Client.BytesOfRun)..Math.Min((run + 1) * Client.BytesOfRun, bytes)]);
            }

            lane.Upload();
            ArrayView<byte> result = lane.Result(selected * size, out byte* made);
            if (selected > 0)
                _kernels.Pack(source.DType)(lane.Stream, Launch(runs), there, bitsThere, before, result);
            return () =>
            {
                Buffer.MemoryCopy(made, (byte*)packed + count * size, selected * size, selected * size);
                count += selected;
            };
        });
        return count;
    }

    /// <inheritdoc/>
    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        TensorPanel[] panels = [local, global];
        RequireHost(panels);
        RequireHost([gradient]);
        DType dtype = CommonType(panels);
        bool writes = gradient.Data is not null;
        DType gradientType = writes ? gradient.DType : DType.F64;
        int size = writes ? gradientType.BitSize / 8 : 0;
        double sum = 0;
        // in place only when all is there
        using var made = new NativeBuffer((long)length * size);
        ForEachChunk(Chunk.OfElements(length, panels.Length * (dtype.BitSize / 8) + 2 * size, _chunkBytes), (lane, chunk) =>
        {
            long sums = Math.Min(chunk.Length, MostSums), bytes = (long)chunk.Length * size;
            lane.Begin(StagedBytes(panels, dtype, chunk) + DeviceLane.Align(bytes), FoldBytes(sums), DeviceLane.Align(bytes) + DeviceLane.Align(sizeof(double)));
            DeviceInputs there = Stage(lane, panels, dtype, chunk);
            ArrayView<byte> added = lane.Stage(bytes, out Span<byte> staged);
            fixed (byte* first = staged)
            {
                if (writes)
                    chunk.CopyFrom(gradient, gradientType, first);
            }

            lane.Upload();
            ArrayView<double> partial = lane.Scratch<double>(sums), result = lane.Result(1, out double* total);
            ArrayView<byte> back = lane.Result(bytes, out byte* here);
            _kernels.Proximal(dtype, gradientType)(lane.Stream, Launch(sums), there, mu, chunk.Length, added, sums == 1 ? result : partial);
            FoldParts(lane, partial, 1, sums, 1, result);
            if (writes)
                back.CopyFrom(lane.Stream, added);
            return () =>
            {
                sum += *total;
                if (writes)
                    chunk.CopyTo(here, new TensorPanel(made.Pointer, gradientType));
            };
        });
        if (writes)
            Buffer.MemoryCopy(made.Pointer, gradient.Data, made.ByteLength, made.ByteLength);
        return sum;
    }

    /// <summary>Refuses what is taken from host memory only.</summary>
    private static void RequireHost(ReadOnlySpan<TensorPanel> panels)
    {
        foreach (TensorPanel panel in panels)
        {
            if (panel.OnDevice)
                throw new ArgumentException("A momentum, a gradient or a model of the proximal term lies on the device; host memory was expected.", nameof(panels));
        }
    }

    private static bool IsMomentumType(DType dtype) => dtype is DType.F32 or DType.F64;

    private static DeviceScales ScalesOf(ImportanceScale update, ImportanceScale global) =>
        new() { UpdateCenter = update.Center, UpdateSpread = update.Spread, GlobalCenter = global.Center, GlobalSpread = global.Spread };

    private static void Copy(double* made, double* target, Chunk chunk, bool sigmoid)
    {
        // the same scalar exp as everywhere
        for (int i = 0; i < chunk.Length && target is not null; i++)
            target[chunk.Column + i] = sigmoid ? ScalarMath.Sigmoid(made[i]) : made[i];
    }

    /// <summary>The panels of an importance, and as which types they are staged.</summary>
    private readonly struct ImportancePanels
    {
        private readonly TensorPanel[] _models, _momentum;
        private readonly ImportanceInputs _inputs;

        public ImportancePanels(in ImportanceInputs inputs)
        {
            _inputs = inputs;
            // a supplied u is read alone
            _models = inputs.Rule == MomentumRule.Supplied ? [inputs.Global] : [inputs.Global, inputs.Local];
            _momentum = inputs.Rule == MomentumRule.None ? [] : [inputs.Momentum];
            RequireTogether([.. _models, .. _momentum]);
            Type = CommonType(_models);
            MomentumType = _momentum.Length > 0 && IsMomentumType(inputs.Momentum.DType) ? inputs.Momentum.DType : DType.F64;
        }

        public DType Type { get; }

        public DType MomentumType { get; }

        public int BytesOfElement => _models.Length * (Type.BitSize / 8) + _momentum.Length * (MomentumType.BitSize / 8);

        public long ChunkBytes(GpuBackend backend) => backend.ChunkBytes(_models);

        public long StagedBytes(Chunk chunk) => GpuBackend.StagedBytes(_models, Type, chunk) + GpuBackend.StagedBytes(_momentum, MomentumType, chunk);

        public DeviceImportance Stage(GpuBackend backend, DeviceLane lane, Chunk chunk) => new()
        {
            Models = backend.Stage(lane, _models, Type, chunk),
            Momentum = _momentum.Length == 0 ? ArrayView<byte>.Empty
                : AreOnDevice(_momentum) ? backend.Addresses.At((nint)_momentum[0].Data, (long)chunk.Length * (MomentumType.BitSize / 8))
                : backend.Stage(lane, _momentum, MomentumType, chunk).Data,
            Rule = (int)_inputs.Rule,
            Beta = _inputs.Beta,
        };
    }
}
