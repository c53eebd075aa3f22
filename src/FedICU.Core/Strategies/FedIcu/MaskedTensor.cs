using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU;

/// <summary>One tensor on its way through the client: moments, mask and momentum in the first step, the upload in the second.</summary>
internal sealed unsafe class MaskedTensor : IDisposable
{
    private readonly FedIcuClientOptions _options;
    private readonly TensorSource _localSource;
    private readonly IComputeBackend _backend;
    private readonly Workers _workers;
    private readonly List<PanelReader> _readers = [];
    private readonly PanelReader? _global, _local, _momentum;
    private readonly MomentumRule _rule;
    private readonly List<Grouping.Panel> _panels = [];
    private readonly byte[] _mask = [];
    private readonly long _sent;
    private ImportanceScale _updateScale, _globalScale;
    private double[]? _updateImportance, _globalImportance;
    private double _softMean, _deviation;

    public MaskedTensor(
        FedIcuClientOptions options, TensorInfo info, TensorSource global, TensorSource local, TensorSource? momentum, TensorSink? momentumOutput, TensorInfo momentumInfo,
        IComputeBackend backend, Workers workers)
    {
        (_options, Info, _localSource, _backend, _workers) = (options, info, local, backend, workers);
        _sent = info.ElementCount;
        if (!info.DType.IsComputed)
            return;
        _readers.Add(_global = new DensePanelReader(global, info));
        _readers.Add(_local = new DensePanelReader(local, info));
        _rule = momentum is null ? MomentumRule.None : options.Momentum;
        if (_rule != MomentumRule.None)
            _readers.Add(_momentum = new DensePanelReader(momentum!, momentum!.Find(info.Name)!));
        // fixed panels of whole mask bytes: their number and size depend on the shape alone
        _panels = new Grouping(info.Shape, NormAxis.Tensor).Panels(4);
        if ((info.ElementCount + 7) / 8 > Array.MaxLength)
            throw new FedIcuException($"Tensor '{info.Name}' of {info} is too large to be masked.");
        _mask = new byte[(info.ElementCount + 7) / 8];
        _sent = Select(momentumOutput, momentumInfo);
    }

    public TensorInfo Info { get; }

    /// <summary>Whether the tensor is written as packed values and a mask.</summary>
    public bool Packed { get; set; }

    private bool AlwaysDense => _global is null || _options.Mask == MaskRule.GaussianNoise || _options.Fill == MaskFill.Zero;

    private TensorInfo Values => new(Info.Name + SparseUpdate.ValuesSuffix, Info.DType, new TensorShape(_sent));

    private TensorInfo Mask => new(Info.Name + SparseUpdate.MaskSuffix, DType.U8, new TensorShape(_mask.Length));

    public bool PacksSmaller => !AlwaysDense && Values.ByteLength + Mask.ByteLength < Info.ByteLength;

    public IReadOnlyList<TensorInfo> Outputs => Packed ? [Values, Mask] : [Info];

    public TensorMaskReport Report => new(Info.Name, Info.ElementCount, _sent, Outputs.Sum(output => output.ByteLength), Info.ByteLength);

    /// <summary>Writes the tensor, packed or whole.</summary>
    public void Write(TensorSink output)
    {
        if (_global is null)
        {
            _localSource.CopyTo(output, Info, _workers.CancellationToken);
            return;
        }

        int size = Info.DType.BitSize / 8;
        // where each panel's values begin among the packed ones
        long[] before = new long[_panels.Count];
        for (int i = 1; i < before.Length; i++)
            before[i] = before[i - 1] + Bits(_panels[i - 1]);
        _workers.Run(_panels.Count, _panels.Count > 1, (piece, scratch) =>
        {
            Grouping.Panel panel = _panels[piece];
            byte* dense = Masked(panel, scratch);
            if (!Packed)
            {
                output.Write(Info, panel.Start * size, new ReadOnlySpan<byte>(dense, panel.Length * size));
                return;
            }

            int count = size switch
            {
                2 => Gather((ushort*)dense, panel),
                4 => Gather((uint*)dense, panel),
                _ => Gather((ulong*)dense, panel),
            };
            output.Write(Values, before[piece] * size, new ReadOnlySpan<byte>(dense, count * size));
        });
        if (Packed)
            output.Write(Mask, 0, _mask);
    }

    public void Dispose() => _readers.ForEach(reader => reader.Dispose());

    private long Select(TensorSink? momentumOutput, TensorInfo momentumInfo)
    {
        var update = new MagnitudeMoments[_panels.Count];
        var received = new MagnitudeMoments[_panels.Count];
        ForEachPanel((piece, panel, in inputs, _) => _backend.AddMoments(inputs, panel.Length, ref update[piece], ref received[piece]));
        MagnitudeMoments u = default, g = default;
        for (int piece = 0; piece < _panels.Count; piece++)
        {
            u.Merge(update[piece]);
            g.Merge(received[piece]);
        }

        RefuseNonFinite(u, g);
        bool minMax = _options.Importance == ImportanceRule.MinMax;
        _updateScale = minMax ? new(u.Minimum, u.Maximum - u.Minimum) : new(u.Mean, u.StandardDeviation);
        _globalScale = minMax ? new(g.Minimum, g.Maximum - g.Minimum) : new(g.Mean, g.StandardDeviation);
        WriteMomentum(momentumOutput, momentumInfo);
        if (_options.Importance == ImportanceRule.Rank || _options.ImportanceFunction is not null)
            MeasureWhole();
        if (_options.Mask == MaskRule.GaussianNoise)
            _deviation = DeviationOfDelta();
        return _options.Mask == MaskRule.TopRatio ? SelectTop() : SelectMoreImportant();
    }

    /// <summary>The entries whose update is more important than what was received.</summary>
    private long SelectMoreImportant()
    {
        bool soft = _options.Mask == MaskRule.Soft;
        if (!soft && _updateImportance is null)
        {
            // a deviation of zero makes every importance zero, which the comparison of z-scores cannot say (docs/algorithms.md, Ties)
            if (_updateScale.Spread == 0)
                return 0;
            if (_globalScale.Spread == 0 && _options.Importance == ImportanceRule.ZScore)
                return SelectAll();
            ImportanceScale global = _globalScale.Spread == 0 ? new(0, double.PositiveInfinity) : _globalScale;
            long[] selected = new long[_panels.Count];
            ForEachPanel((piece, panel, in inputs, _) =>
            {
                fixed (byte* mask = _mask)
                    selected[piece] = _backend.SelectImportant(inputs, panel.Length, _updateScale, global, mask + panel.Start / 8, default);
            });
            return selected.Sum();
        }

        long[] counts = new long[_panels.Count];
        double[] sums = new double[_panels.Count];
        ForEachPanel((piece, panel, in inputs, scratch) =>
        {
            Importances(panel, inputs, scratch, out double* s, out double* g);
            for (int i = 0; i < panel.Length; i++)
            {
                if (!(s[i] - g[i] > 1e-12 * (1 + Math.Abs(g[i]))))
                    continue;
                Set(panel.Start + i);
                counts[piece]++;
                sums[piece] += Soft(s[i], g[i]);
            }
        });
        long count = counts.Sum();
        _softMean = count == 0 ? 1 : sums.Sum() / count;
        return count;
    }

    private long SelectAll()
    {
        _mask.AsSpan().Fill(0xFF);
        if (Info.ElementCount % 8 != 0)
            _mask[^1] = (byte)((1 << (int)(Info.ElementCount % 8)) - 1);
        return Info.ElementCount;
    }

    /// <summary>Exactly ceil(ratio n) entries: the largest importances, ties to the lower flat index.</summary>
    private long SelectTop()
    {
        if (Info.ElementCount == 0)
            return 0;
        // every built-in importance grows with |u|, so |u| itself is ranked
        double[] keys = _options.ImportanceFunction is null ? Magnitudes(ofUpdate: true) : _updateImportance!;
        long wanted = Math.Clamp((long)Math.Ceiling((decimal)_options.TopRatio * keys.Length), 1, keys.Length);
        double threshold = RadixSelection.Largest(keys, wanted, out long above);
        long ties = wanted - above;
        for (int i = 0; i < keys.Length; i++)
        {
            if (keys[i] > threshold || keys[i] == threshold && ties-- > 0)
                Set(i);
        }

        return wanted;
    }

    /// <summary>One panel of the masked model, in the model's type.</summary>
    private byte* Masked(Grouping.Panel panel, Scratch scratch)
    {
        ImportanceInputs inputs = Read(panel, scratch);
        int size = Info.DType.BitSize / 8;
        byte* dense = scratch.Take((long)panel.Length * size);
        var output = new TensorPanel(dense, Info.DType);
        void* fill = inputs.Global.Data;
        if (_options.Fill == MaskFill.Zero)
        {
            byte* zeros = scratch.Take((long)panel.Length * size);
            NativeMemory.Clear(zeros, (nuint)(panel.Length * size));
            fill = zeros;
        }

        switch (size)
        {
            case 2: Blend((ushort*)inputs.Local.Data, (ushort*)fill, (ushort*)dense, panel); break;
            case 4: Blend((uint*)inputs.Local.Data, (uint*)fill, (uint*)dense, panel); break;
            default: Blend((ulong*)inputs.Local.Data, (ulong*)fill, (ulong*)dense, panel); break;
        }

        if (_options.Mask == MaskRule.Soft)
        {
            Importances(panel, inputs, scratch, out double* s, out double* g);
            for (int i = 0; i < panel.Length; i++)
            {
                if (!IsSet(panel.Start + i))
                    continue;
                double received = Rounding.Read(inputs.Global.Data, Info.DType, i), delta = Rounding.Read(inputs.Local.Data, Info.DType, i) - received;
                Rounding.Write(dense, Info.DType, i, Math.FusedMultiplyAdd(Math.Min(Soft(s[i], g[i]) / _softMean, 1), delta, received));
            }
        }
        else if (_options.Mask == MaskRule.GaussianNoise)
        {
            var noise = new GaussianNoise(_options.Seed, Info.Name);
            for (int i = 0; i < panel.Length; i++)
            {
                if (!IsSet(panel.Start + i))
                    Rounding.Write(dense, Info.DType, i, Math.FusedMultiplyAdd(_options.Sigma * _deviation, noise[panel.Start + i], Rounding.Read(fill, Info.DType, i)));
            }
        }

        return (byte*)output.Data;
    }

    private static double Soft(double s, double g) => s / (s + g);

    /// <summary>Importances of a panel: from the whole tensor's where they were measured, else by the scales.</summary>
    private void Importances(Grouping.Panel panel, in ImportanceInputs inputs, Scratch scratch, out double* s, out double* g)
    {
        s = (double*)scratch.Take((long)panel.Length * sizeof(double));
        g = (double*)scratch.Take((long)panel.Length * sizeof(double));
        if (_updateImportance is not null)
        {
            _updateImportance.AsSpan((int)panel.Start, panel.Length).CopyTo(new Span<double>(s, panel.Length));
            _globalImportance.AsSpan((int)panel.Start, panel.Length).CopyTo(new Span<double>(g, panel.Length));
        }
        else
        {
            _backend.Importance(inputs, panel.Length, _updateScale, _globalScale, _options.Importance == ImportanceRule.ZScore, s, g);
        }
    }

    private void MeasureWhole()
    {
        if (Info.ElementCount > Array.MaxLength)
            throw new FedIcuException($"Tensor '{Info.Name}' of {Info} is too large for an importance that looks at all of it at once.");
        double[] u = Magnitudes(ofUpdate: true), g = Magnitudes(ofUpdate: false);
        _updateImportance = new double[u.Length];
        _globalImportance = new double[g.Length];
        if (_options.ImportanceFunction is { } own)
        {
            own(Info.Name, u, _updateImportance);
            own(Info.Name, g, _globalImportance);
            if (Array.FindIndex(_updateImportance, value => !double.IsFinite(value)) >= 0 || Array.FindIndex(_globalImportance, value => !double.IsFinite(value)) >= 0)
                throw new FedIcuException($"Tensor '{Info.Name}': the importance function gave values that are not finite.");
            if (_options.Mask == MaskRule.Soft && (Array.Exists(_updateImportance, value => value < 0) || Array.Exists(_globalImportance, value => value < 0)))
                throw new FedIcuException($"Tensor '{Info.Name}': the importance function gave negative values; the soft mask is a share of importances and expects none.");
        }
        else
        {
            AverageRanks(u, _updateImportance);
            AverageRanks(g, _globalImportance);
        }
    }

    /// <summary>The rank of each magnitude, 1 the smallest, equal ones their mean rank, over n.</summary>
    private static void AverageRanks(double[] magnitudes, double[] ranks)
    {
        int[] order = [.. Enumerable.Range(0, magnitudes.Length)];
        Array.Sort((double[])magnitudes.Clone(), order);
        for (int first = 0, last; first < order.Length; first = last)
        {
            for (last = first + 1; last < order.Length && magnitudes[order[last]] == magnitudes[order[first]];)
                last++;
            for (int i = first; i < last; i++)
                ranks[order[i]] = (first + 1 + last) / 2.0 / magnitudes.Length;
        }
    }

    private double[] Magnitudes(bool ofUpdate)
    {
        double[] magnitudes = new double[Info.ElementCount];
        var identity = new ImportanceScale(0, 1);
        ForEachPanel((_, panel, in inputs, _) =>
        {
            fixed (double* all = magnitudes)
            {
                double* part = all + panel.Start;
                _backend.Importance(inputs, panel.Length, identity, identity, sigmoid: false, ofUpdate ? part : null, ofUpdate ? null : part);
            }
        });
        return magnitudes;
    }

    private void WriteMomentum(TensorSink? momentumOutput, TensorInfo momentumInfo)
    {
        if (momentumOutput is null)
            return;
        int size = momentumInfo.DType.BitSize / 8;
        var identity = new ImportanceScale(0, 1);
        ForEachPanel((_, panel, in inputs, scratch) =>
        {
            byte* u = scratch.Take((long)panel.Length * size);
            _backend.SelectImportant(inputs, panel.Length, identity, identity, null, new TensorPanel(u, momentumInfo.DType));
            momentumOutput.Write(momentumInfo, panel.Start * size, new ReadOnlySpan<byte>(u, panel.Length * size));
        });
    }

    /// <summary>The sample standard deviation of theta_k - theta_g, in two looks.</summary>
    private double DeviationOfDelta()
    {
        double mean = SumOfDelta(delta => delta) / Math.Max(Info.ElementCount, 1);
        return Info.ElementCount < 2 ? 0 : Math.Sqrt(SumOfDelta(delta => (delta - mean) * (delta - mean)) / (Info.ElementCount - 1));
    }

    private double SumOfDelta(Func<double, double> term)
    {
        double[] sums = new double[_panels.Count];
        ForEachPanel((piece, panel, in inputs, _) =>
        {
            for (int i = 0; i < panel.Length; i++)
                sums[piece] += term(Rounding.Read(inputs.Local.Data, Info.DType, i) - Rounding.Read(inputs.Global.Data, Info.DType, i));
        });
        return sums.Sum();
    }

    private void RefuseNonFinite(in MagnitudeMoments u, in MagnitudeMoments g)
    {
        if (Info.ElementCount == 0 || double.IsFinite(u.Mean) && double.IsFinite(g.Mean))
            return;
        foreach ((string what, PanelReader? reader) in new[] { ("received model's", _global), ("trained model's", _local), ("momentum's", _momentum) })
        {
            if (reader is null)
                continue;
            long count = 0;
            _workers.Run(_panels.Count, parallel: false, (piece, scratch) =>
                count += _backend.CountNonFinite(reader.Read(_panels[piece].Start, _panels[piece].Length, scratch), _panels[piece].Length));
            if (count > 0)
                throw new InvalidModelException($"The {what} tensor '{Info.Name}' has {count} values that are NaN or infinite; finite values were expected.");
        }

        throw new InvalidModelException($"Tensor '{Info.Name}': the magnitudes' mean is not finite, from finite values: they are too large.");
    }

    private delegate void PanelAction(int piece, Grouping.Panel panel, in ImportanceInputs inputs, Scratch scratch);

    private void ForEachPanel(PanelAction action) => _workers.Run(_panels.Count, _panels.Count > 1, (piece, scratch) =>
        action(piece, _panels[piece], Read(_panels[piece], scratch), scratch));

    private ImportanceInputs Read(Grouping.Panel panel, Scratch scratch) => new(
        _global!.Read(panel.Start, panel.Length, scratch), _local!.Read(panel.Start, panel.Length, scratch),
        _momentum?.Read(panel.Start, panel.Length, scratch) ?? default, _rule, _options.Beta);

    private void Blend<T>(T* local, T* fill, T* dense, Grouping.Panel panel) where T : unmanaged
    {
        for (int i = 0; i < panel.Length; i++)
            dense[i] = IsSet(panel.Start + i) ? local[i] : fill[i];
    }

    /// <summary>Moves the sent entries together, in place.</summary>
    private int Gather<T>(T* dense, Grouping.Panel panel) where T : unmanaged
    {
        int count = 0;
        for (int i = 0; i < panel.Length; i++)
        {
            if (IsSet(panel.Start + i))
                dense[count++] = dense[i];
        }

        return count;
    }

    private long Bits(Grouping.Panel panel)
    {
        long count = 0;
        for (long at = panel.Start / 8; at < (panel.Start + panel.Length + 7) / 8; at++)
            count += BitOperations.PopCount(_mask[at]);
        return count;
    }

    private bool IsSet(long element) => (_mask[element >> 3] >> (int)(element & 7) & 1) != 0;

    private void Set(long element) => _mask[element >> 3] |= (byte)(1 << (int)(element & 7));
}
