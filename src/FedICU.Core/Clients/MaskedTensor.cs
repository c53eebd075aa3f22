using FedICU.Clients.Masks;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Text;

namespace FedICU.Clients;

/// <summary>
/// One tensor of the update. <see cref="Decide"/> finds the entries that are sent and writes the momentum;
/// <see cref="Write"/> writes the update. In between, a tensor holds one bit for each entry and, as far as
/// <see cref="MaskRun"/> has room, the values that are sent.
/// </summary>
internal sealed unsafe class MaskedTensor(MaskRun run, TensorInfo info) : IDisposable
{
    private readonly ClientTensor _tensor = new(run, info);
    // null until the mask is decided, and for types that are not computed
    private TensorMask? _mask;
    private long _sent = info.ElementCount;

    public TensorInfo Info => info;

    /// <summary>Gets whether the tensor is written as packed values and a mask, because that is smaller.</summary>
    public bool IsPacked => !IsDense && Values.ByteLength + Mask.ByteLength < info.ByteLength;

    /// <summary>Gets the tensors of the update that this tensor is written as.</summary>
    public IReadOnlyList<TensorInfo> Outputs => IsPacked ? [Values, Mask] : [info];

    /// <summary>
    /// Gets the SHA-256 of the received values after <see cref="Decide"/>; empty if it is not needed.
    /// </summary>
    public byte[] Hash { get; private set; } = [];

    public TensorMaskReport Report =>
        new(info.Name, info.ElementCount, _sent, Outputs.Sum(output => output.ByteLength), info.ByteLength);

    private bool IsDense => run.IsDense || !info.DType.IsComputed;

    private TensorInfo Values => new(info.Name + SparseUpdate.ValuesSuffix, info.DType, new TensorShape(_sent));

    private TensorInfo Mask => new(info.Name + SparseUpdate.MaskSuffix, DType.U8, new TensorShape(TensorMask.ByteCount(info)));

    /// <summary>
    /// Finds the entries that are sent and writes the momentum. A mask that is decided by scales takes two passes over
    /// the inputs: one measures the scales, one does the rest. Ranks, top ratios and noise take more.
    /// </summary>
    public void Decide(Workers workers)
    {
        if (!info.DType.IsComputed)
        {
            if (run.Hashes)
                Hash = ModelDigest.HashData(run.Global, info, workers.CancellationToken);
            return;
        }

        if (TensorMask.ByteCount(info) > Array.MaxLength)
            throw new FedIcuException($"Tensor '{info.Name}' of {info} is too large to be masked.");
        using (_tensor.Open(run.DecidesOnDevice))
        {
            var measurement = new ScaleMeasurement(_tensor, workers);
            _mask = TensorMask.Create(_tensor, measurement.Measure());
            Hash = measurement.Hash;
            _sent = _mask.Select(WholeImportances.Measure(_tensor, workers), workers);
        }

        if (!IsPacked)
            _mask.Dispose();
    }

    /// <summary>Writes the tensor, packed or whole.</summary>
    public void Write(TensorSink output, Workers workers)
    {
        if (_mask is not { } mask)
        {
            run.Local.CopyTo(output, run.Local.FindTied(info.Name)!, info, workers.CancellationToken);
            return;
        }

        bool packed = IsPacked;
        long[] nonFinite = new long[_tensor.Panels.Count];
        using (_tensor.Open(run.PacksOnDevice && packed))
        {
            WholeImportances? importances = mask.WritesFromImportances ? WholeImportances.Measure(_tensor, workers) : null;
            if (packed)
                WriteValues(mask, importances, output, workers, nonFinite);
            else
                WriteWhole(mask, importances, output, workers, nonFinite);
        }

        if (nonFinite.Sum() is var faults and > 0)
        {
            throw new InvalidModelException(
                $"Tensor '{info.Name}': {Sentence.Count(faults, "value")} to be sent {Sentence.Form(faults, "is", "are")} not finite, " +
                $"from finite values; {Sentence.Form(faults, "it does", "they do")} not fit {info.DType.SafetensorsName}.");
        }

        if (packed)
            output.Write(Mask, 0, mask.Bits);
        mask.Dispose();
    }

    public void Dispose() => _mask?.Dispose();

    private void WriteWhole(TensorMask mask, WholeImportances? importances, TensorSink output, Workers workers, long[] nonFinite)
    {
        var writer = new PanelWriter(output, info);
        RunPanels(workers, (piece, panel, scratch) =>
        {
            TensorPanel values = writer.Begin(panel.Start, panel.Length, scratch);
            nonFinite[piece] = Fill(mask, panel, importances, values, scratch);
            writer.End(values, panel.Start, panel.Length);
        });
    }

    private void WriteValues(TensorMask mask, WholeImportances? importances, TensorSink output, Workers workers, long[] nonFinite)
    {
        // the position of each panel's first value among the packed values
        long[] first = new long[_tensor.Panels.Count];
        for (int i = 1; i < first.Length; i++)
            first[i] = first[i - 1] + MaskBits.Count(mask.BitsOf(_tensor.Panels[i - 1]));
        RunPanels(workers, (piece, panel, scratch) =>
        {
            long count = MaskBits.Count(mask.BitsOf(panel));
            if (count == 0)
                return;
            byte* values = mask.TryGetPacked(piece);
            if (values == null)
                values = Pack(mask, panel, importances, scratch, ref nonFinite[piece]);
            int size = _tensor.ElementSize;
            output.Write(Values, first[piece] * size, new ReadOnlySpan<byte>(values, (int)count * size));
        });
    }

    private void RunPanels(Workers workers, Action<int, Grouping.Panel, Scratch> action) =>
        workers.Run(_tensor.Panels.Count, _tensor.Panels.Count > 1, (piece, scratch) => action(piece, _tensor.Panels[piece], scratch));

    /// <summary>Packs the values of a panel that are sent. They are valid until the scratch memory is reset.</summary>
    private byte* Pack(TensorMask mask, Grouping.Panel panel, WholeImportances? importances, Scratch scratch, ref long nonFinite)
    {
        byte* values = scratch.Take((long)panel.Length * _tensor.ElementSize + IClientBackend.PackSlack);
        TensorPanel source;
        if (mask.ComputesValues)
        {
            source = new TensorPanel(scratch.Take((long)panel.Length * _tensor.ElementSize), info.DType);
            nonFinite = Fill(mask, panel, importances, source, scratch);
        }
        else
        {
            source = _tensor.Local!.Read(panel.Start, panel.Length, scratch);
        }

        fixed (byte* bits = mask.BitsOf(panel))
            run.Backend.Pack(source, panel.Length, bits, values);
        return values;
    }

    /// <summary>
    /// Makes a panel of the masked model in the model's type. Returns how many of its values are not finite.
    /// </summary>
    private long Fill(TensorMask mask, Grouping.Panel panel, WholeImportances? importances, TensorPanel values, Scratch scratch)
    {
        ImportanceInputs inputs = _tensor.Read(panel, scratch, withMomentum: mask.WritesFromMomentum);
        void* fill = run.Options.Fill == MaskFill.Zero ? null : inputs.Global.Data;
        fixed (byte* bits = mask.BitsOf(panel))
            MaskBits.Blend(inputs.Local.Data, fill, _tensor.ElementSize, panel.Length, bits, values.Data);
        if (!mask.ComputesValues)
            return 0;
        mask.ComputeValues(panel, inputs, fill, values.Data, importances, scratch);
        return run.Backend.CountNonFinite(values, panel.Length);
    }
}
