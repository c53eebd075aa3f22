using System.Collections.Concurrent;
using System.Security.Cryptography;
using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Text;

namespace FedICU.Clients;

/// <summary>
/// One tensor on its way through the client: <see cref="Decide"/> finds what is sent and writes the momentum, <see cref="Write"/> writes the upload. Between
/// the two a tensor holds a bit for each entry and, as far as <see cref="MaskRun"/> lets it, the values sent.
/// </summary>
internal sealed unsafe class MaskedTensor(MaskRun run, TensorInfo info) : IDisposable
{
    // so many elements of all inputs, float64 importances included, stay in the second cache from one step to the next
    private const int Chunk = 1 << 13;

    // what keeps a device busy
    private const int PanelOnDevice = 1 << 22;

    // fixed panels of whole mask bytes: their number and size depend on the shape alone
    private readonly List<Grouping.Panel> _panels = info.DType.IsComputed ? new Grouping(info.Shape, NormAxis.Tensor, panelElements: run.OnDevice ? PanelOnDevice : null).Panels(4) : [];
    private readonly MomentumRule _rule = run.Momentum is null ? MomentumRule.None : run.Options.Momentum;
    private readonly TensorInfo _momentumInfo = MaskRun.MomentumInfo(info);
    private readonly int _size = info.DType.BitSize / 8;
    private PanelReader? _global, _local, _momentum;
    private byte[] _mask = [];
    private long _sent = info.ElementCount;
    private ImportanceScale _updateScale, _globalScale;
    private double[]? _updateImportance, _globalImportance;
    private double _softMean, _deviation;
    // equal magnitudes say nothing about importance: all entries are sent as they are, or none where all are 0
    private bool _updateIsConstant, _updateIsZero;
    private NativeBuffer?[]? _kept;

    public TensorInfo Info => info;

    /// <summary>Whether the tensor is written as packed values and a mask: where that is smaller.</summary>
    public bool Packed => !IsDense && Values.ByteLength + Mask.ByteLength < info.ByteLength;

    public IReadOnlyList<TensorInfo> Outputs => Packed ? [Values, Mask] : [info];

    /// <summary>The SHA-256 of the received tensor, after <see cref="Decide"/>; empty where it is not asked for.</summary>
    public byte[] Hash { get; private set; } = [];

    public TensorMaskReport Report => new(info.Name, info.ElementCount, _sent, Outputs.Sum(output => output.ByteLength), info.ByteLength);

    private bool IsDense => run.IsDense || !info.DType.IsComputed;

    /// <summary>Whether the update's magnitudes are all equal, and the importance is not a caller's own, which may know better.</summary>
    private bool SendsConstant => _updateIsConstant && run.Options.ImportanceFunction is null;

    private bool IsSoft => run.Options.Mask == MaskRule.Soft;

    private TensorInfo Values => new(info.Name + SparseUpdate.ValuesSuffix, info.DType, new TensorShape(_sent));

    private TensorInfo Mask => new(info.Name + SparseUpdate.MaskSuffix, DType.U8, new TensorShape(_mask.Length));

    /// <summary>
    /// Finds the entries to be sent and writes the momentum. Where the mask is decided by scales, in two looks at the inputs: their moments, then everything
    /// else; ranks, shares and noise take more.
    /// </summary>
    public void Decide(Workers workers)
    {
        if (!info.DType.IsComputed)
        {
            if (run.Hashes)
                Hash = ModelDigest.HashData(run.Global, info, workers.CancellationToken);
            return;
        }

        if ((info.ElementCount + 7) / 8 > Array.MaxLength)
            throw new FedIcuException($"Tensor '{info.Name}' of {info} is too large to be masked.");
        _mask = new byte[(info.ElementCount + 7) / 8];
        // the noise's deviation is taken from the values themselves
        WithInputs(run.OnDevice && run.Options.Mask != MaskRule.GaussianNoise, () =>
        {
            MeasureScales(workers);
            if (run.Options.Mask == MaskRule.GaussianNoise)
                _deviation = DeviationOfDelta(workers);
            MeasureWhole(workers);
            if (run.Options.Mask == MaskRule.TopRatio || _updateImportance is not null)
            {
                WriteMomentum(workers);
                _sent = run.Options.Mask == MaskRule.TopRatio ? SelectTop(workers) : SelectMeasured(workers);
            }
            else
            {
                _sent = SelectByScales(workers);
            }
        });
        if (!Packed)
            Release();
    }

    /// <summary>Writes the tensor, packed or whole.</summary>
    public void Write(TensorSink output, Workers workers)
    {
        if (!info.DType.IsComputed)
        {
            run.Local.CopyTo(output, run.Local.FindTied(info.Name)!, info, workers.CancellationToken);
            return;
        }

        // where each panel's values begin among the packed ones
        long[] before = new long[_panels.Count];
        for (int i = 1; i < before.Length; i++)
            before[i] = before[i - 1] + MaskBits.Count(MaskOf(_panels[i - 1]));
        long[] nonFinite = new long[_panels.Count];
        bool packed = Packed;
        WithInputs(run.OnDevice && packed && !IsSoft, () =>
        {
            if (IsSoft)
                MeasureWhole(workers);
            workers.Run(_panels.Count, _panels.Count > 1, (piece, scratch) =>
            {
                Grouping.Panel panel = _panels[piece];
                if (!packed)
                    WritePanel(output, info, panel, scratch, target => nonFinite[piece] = Fill(panel, target, scratch));
                else if (MaskBits.Count(MaskOf(panel)) is var count and > 0)
                    output.Write(Values, before[piece] * _size, new ReadOnlySpan<byte>(PackedValues(piece, scratch, ref nonFinite[piece]), (int)count * _size));
            });
        });
        if (nonFinite.Sum() is var faults and > 0)
        {
            throw new InvalidModelException(
                $"Tensor '{info.Name}': {Sentence.Count(faults, "value")} to be sent {Sentence.Form(faults, "is", "are")} not finite, from finite values; {Sentence.Form(faults, "it does", "they do")} not fit {info.DType.SafetensorsName}.");
        }

        if (packed)
            output.Write(Mask, 0, _mask);
        Release();
    }

    public void Dispose() => Release();

    private void Release()
    {
        foreach (NativeBuffer? values in _kept ?? [])
            run.Free(values);
        _kept = null;
    }

    /// <summary>Opens the inputs for a step; pinned memory is let go at its end, whatever happens, and so is what was measured of each entry.</summary>
    private void WithInputs(bool onDevice, Action step)
    {
        try
        {
            _global = new DensePanelReader(run.Global, info, onDevice: onDevice);
            _local = new DensePanelReader(run.Local, run.Local.FindTied(info.Name)!, onDevice: onDevice);
            _momentum = _rule == MomentumRule.None ? null : new DensePanelReader(run.Momentum!, run.Momentum!.Find(info.Name)!, onDevice: onDevice);
            step();
        }
        finally
        {
            _global?.Dispose();
            _local?.Dispose();
            _momentum?.Dispose();
            (_global, _local, _momentum) = (null, null, null);
            (_updateImportance, _globalImportance) = (null, null);
        }
    }

    /// <summary>The first look: moments of |u| and |g|, whether all inputs are finite, and the received tensor's hash.</summary>
    private void MeasureScales(Workers workers)
    {
        var update = new MagnitudeMoments[_panels.Count];
        var received = new MagnitudeMoments[_panels.Count];
        long[] nonFinite = new long[_panels.Count];
        using IncrementalHash? hash = run.Hashes ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        int next = -1;
        var gate = new Lock();
        workers.Run(_panels.Count, _panels.Count > 1, (_, scratch) =>
        {
            int piece;
            Grouping.Panel panel;
            TensorPanel global;
            // a hash goes from the first byte to the last: who has hashed a panel looks at it while another hashes the next
            lock (gate)
            {
                panel = _panels[piece = ++next];
                global = _global!.Read(panel.Start, panel.Length, scratch);
                hash?.AppendData(OnHost(panel, global, scratch));
            }

            ImportanceInputs inputs = Read(panel, global, scratch);
            MagnitudeMoments mine = default, theirs = default;
            run.Backend.AddMoments(inputs, panel.Length, ref mine, ref theirs);
            (update[piece], received[piece]) = (mine, theirs);
            // u is made without the trained model, which is sent all the same
            if (_rule == MomentumRule.Supplied)
                nonFinite[piece] = run.Backend.CountNonFinite(inputs.Local, panel.Length);
        });
        Hash = hash?.GetHashAndReset() ?? [];
        MagnitudeMoments u = default, g = default;
        for (int piece = 0; piece < _panels.Count; piece++)
        {
            u.Merge(update[piece]);
            g.Merge(received[piece]);
        }

        if (nonFinite.Sum() > 0 || !double.IsFinite(u.Maximum) || !double.IsFinite(g.Maximum))
            RefuseNonFinite(workers);
        if (run.MomentumOutput is not null && !double.IsFinite(Rounding.Round(_momentumInfo.DType, u.Maximum)))
        {
            throw new InvalidModelException(
                $"Tensor '{info.Name}': its momentum has magnitudes up to {Numbers.Invariant(u.Maximum)}, which do not fit {_momentumInfo.DType.SafetensorsName}.");
        }

        _updateIsConstant = u.Minimum == u.Maximum;
        _updateIsZero = u.Maximum == 0;
        _updateScale = ScaleOf(workers, u, ofUpdate: true);
        _globalScale = ScaleOf(workers, g, ofUpdate: false);
    }

    private ImportanceScale ScaleOf(Workers workers, in MagnitudeMoments moments, bool ofUpdate)
    {
        // squared deviations below this may have lost digits to underflow; they are of magnitudes below 1e-128
        const double LeastSquares = 1e-289;
        if (run.Options.Importance == ImportanceRule.MinMax)
            return new ImportanceScale(moments.Minimum, moments.Maximum - moments.Minimum);
        if (moments.Minimum == moments.Maximum)
            return new ImportanceScale(moments.Maximum, 0);
        double factor = !double.IsFinite(moments.Mean) || !double.IsFinite(moments.SquaredDeviations) ? SumScale.Down : moments.SquaredDeviations < LeastSquares ? SumScale.Up : 1;
        if (factor == 1)
            return new ImportanceScale(moments.Mean, moments.StandardDeviation);
        MagnitudeMoments scaled = MeasureScaled(workers, factor, ofUpdate);
        // magnitudes that differ have a deviation, however small
        return new ImportanceScale(scaled.Mean / factor, Math.Max(scaled.StandardDeviation / factor, double.Epsilon));
    }

    /// <summary>The moments of |u| or |g| times a power of two: where the squares of the values themselves overflow or vanish.</summary>
    private MagnitudeMoments MeasureScaled(Workers workers, double factor, bool ofUpdate)
    {
        using DensePanelReader global = new(run.Global, info), local = new(run.Local, info);
        using DensePanelReader? momentum = _rule == MomentumRule.None ? null : new(run.Momentum!, run.Momentum!.Find(info.Name)!);
        var parts = new MagnitudeMoments[_panels.Count];
        workers.Run(_panels.Count, _panels.Count > 1, (piece, scratch) =>
        {
            Grouping.Panel panel = _panels[piece];
            TensorPanel values = global.Read(panel.Start, panel.Length, scratch), scaled = NewPanel();
            if (ofUpdate)
            {
                // u itself, as the momentum that a mask would write
                var inputs = new ImportanceInputs(
                    values, local.Read(panel.Start, panel.Length, scratch), momentum?.Read(panel.Start, panel.Length, scratch) ?? default, _rule, run.Options.Beta);
                values = NewPanel();
                run.Backend.SelectImportant(inputs, panel.Length, Identity, Identity, null, values);
            }

            run.Backend.WeightedSum([values], [factor], 1, panel.Length, scaled);
            MagnitudeMoments u = default, g = default;
            run.Backend.AddMoments(new ImportanceInputs(scaled, default, scaled, MomentumRule.Supplied, 0), panel.Length, ref u, ref g);
            parts[piece] = u;

            TensorPanel NewPanel() => new(scratch.Take((long)panel.Length * sizeof(double)), DType.F64);
        });
        MagnitudeMoments moments = default;
        foreach (MagnitudeMoments part in parts)
            moments.Merge(part);
        return moments;
    }

    /// <summary>A panel's bytes where a hash can read them: of a device a copy.</summary>
    private ReadOnlySpan<byte> OnHost(Grouping.Panel panel, TensorPanel global, Scratch scratch)
    {
        var bytes = new Span<byte>(global.OnDevice ? scratch.Take((long)panel.Length * _size) : global.Data, panel.Length * _size);
        if (global.OnDevice)
            run.Global.Read(info, panel.Start * _size, bytes);
        return bytes;
    }

    private void RefuseNonFinite(Workers workers)
    {
        foreach ((string what, PanelReader? reader, TensorSource? source) in new[]
        {
            ("received model's", _global, run.Global), ("trained model's", _local, run.Local), ("momentum's", _momentum, run.Momentum),
        })
        {
            long count = 0;
            workers.Run(reader is null ? 0 : _panels.Count, parallel: false, (piece, scratch) =>
                count += run.Backend.CountNonFinite(reader!.Read(_panels[piece].Start, _panels[piece].Length, scratch), _panels[piece].Length));
            if (count > 0)
                throw new InvalidModelException($"'{source!.Location}': the {what} tensor '{info.Name}' has {Sentence.NonFinite(count)}; finite values were expected.");
        }

        throw new InvalidModelException($"Tensor '{info.Name}': the difference between the trained and the received model is too large for F64, from finite values.");
    }

    /// <summary>The second look: mask, momentum, and what is kept of the trained model; for a soft mask also the mean of m.</summary>
    private long SelectByScales(Workers workers)
    {
        // docs/algorithms.md, Ties: with importances that are z-scores, a model that does not vary takes every update that does; by min-max its importances are 0
        ImportanceScale received = _globalScale.Spread == 0 && run.Options.Importance == ImportanceRule.MinMax ? new(0, double.PositiveInfinity) : _globalScale;
        bool keeps = !IsDense && !IsSoft;
        _kept = keeps ? new NativeBuffer?[_panels.Count] : null;
        long[] counts = new long[_panels.Count];
        double[] sums = new double[_panels.Count];
        ForEachPanel(workers, (piece, panel, in inputs, scratch) =>
        {
            byte* values = keeps && run.Keeps ? scratch.Take((long)panel.Length * _size + IClientBackend.PackSlack) : null;
            long count = 0;
            double sum = 0;
            ImportanceInputs all = inputs;
            WritePanel(run.MomentumOutput, _momentumInfo, panel, scratch, momentum =>
            {
                fixed (byte* bits = MaskOf(panel))
                {
                    int chunk = all.Global.OnDevice ? panel.Length : Chunk;
                    double* importances = (double*)(IsSoft ? scratch.Take(2L * chunk * sizeof(double)) : null);
                    for (int start = 0; start < panel.Length; start += chunk)
                    {
                        int length = Math.Min(chunk, panel.Length - start);
                        byte* mask = bits + start / 8;
                        ImportanceInputs part = From(all, start);
                        long selected = run.Backend.SelectImportant(part, length, _updateScale, received, mask, Panel(momentum, _momentumInfo.DType, start));
                        if (values != null)
                            run.Backend.Pack(part.Local, length, mask, values + count * _size);
                        if (IsSoft && !SendsConstant && selected > 0)
                            sum = AddShares(sum, part, length, mask, importances);
                        count += selected;
                    }
                }
            });
            (counts[piece], sums[piece]) = (count, sum);
            if (values != null)
                _kept![piece] = run.Keep(values, count * _size);
        });
        long sent = counts.Sum();
        _softMean = sent == 0 ? 1 : sums.Sum() / sent;
        return sent;
    }

    private double AddShares(double sum, in ImportanceInputs inputs, int length, byte* mask, double* importances)
    {
        double* s = importances, g = importances + length;
        run.Backend.Importance(inputs, length, _updateScale, _globalScale, run.Options.Importance == ImportanceRule.ZScore, s, g);
        for (int i = 0; i < length; i++)
        {
            if ((mask[i / 8] >> i % 8 & 1) != 0)
                sum += Share(s[i], g[i]);
        }

        return sum;
    }

    /// <summary>The entries whose update is more important, by importances of the whole tensor.</summary>
    private long SelectMeasured(Workers workers)
    {
        long[] counts = new long[_panels.Count];
        double[] sums = new double[_panels.Count];
        workers.Run(_panels.Count, _panels.Count > 1, (piece, _) =>
        {
            Grouping.Panel panel = _panels[piece];
            ReadOnlySpan<double> s = Part(_updateImportance!, panel), g = Part(_globalImportance!, panel);
            Span<byte> mask = MaskOf(panel);
            long count = 0;
            double sum = 0;
            for (int i = 0; i < s.Length; i++)
            {
                bool isImportant = SendsConstant ? !_updateIsZero : s[i] - g[i] > ScalarMath.Tie * (1 + Math.Abs(g[i]));
                if (!isImportant)
                    continue;
                mask[i / 8] |= (byte)(1 << i % 8);
                count++;
                sum += Share(s[i], g[i]);
            }

            (counts[piece], sums[piece]) = (count, sum);
        });
        long sent = counts.Sum();
        _softMean = sent == 0 ? 1 : sums.Sum() / sent;
        return sent;
    }

    /// <summary>Exactly ceil(ratio n) entries: the largest importances, ties to the lower flat index. A look for each digit of the threshold, and one more.</summary>
    private long SelectTop(Workers workers)
    {
        if (info.ElementCount == 0)
            return 0;
        // in decimal, as the ratio is written: 0.07 of 100 is 7
        long wanted = Math.Clamp((long)Math.Ceiling((decimal)run.Options.TopRatio * info.ElementCount), 1, info.ElementCount);
        var selection = new RadixSelection(wanted);
        var histograms = new ConcurrentBag<long[]>();
        while (!selection.IsDone)
        {
            foreach (long[] histogram in histograms)
                Array.Clear(histogram);
            ForEachPanel(workers, (_, panel, in inputs, scratch) =>
            {
                if (!histograms.TryTake(out long[]? histogram))
                    histogram = new long[RadixSelection.Digits];
                selection.Add(Keys(panel, inputs, scratch), histogram);
                histograms.Add(histogram);
            });
            selection.Narrow(histograms);
        }

        double threshold = selection.Threshold;
        long left = wanted - selection.Above;
        // where not all ties are sent, the panels take their turn
        bool all = left == selection.Ties;
        ForEachPanel(workers, (_, panel, in inputs, scratch) =>
        {
            ReadOnlySpan<double> keys = Keys(panel, inputs, scratch);
            Span<byte> mask = MaskOf(panel);
            for (int i = 0; i < keys.Length; i++)
            {
                if (keys[i] > threshold || keys[i] == threshold && (all || left-- > 0))
                    mask[i / 8] |= (byte)(1 << i % 8);
            }
        }, parallel: all);
        return wanted;
    }

    /// <summary>What the top ratio ranks: a caller's importance of the update, else |u| itself, with which every built-in importance grows.</summary>
    private ReadOnlySpan<double> Keys(Grouping.Panel panel, in ImportanceInputs inputs, Scratch scratch)
    {
        if (_updateImportance is not null)
            return Part(_updateImportance, panel);
        double* keys = (double*)scratch.Take((long)panel.Length * sizeof(double));
        run.Backend.Importance(inputs, panel.Length, Identity, Identity, sigmoid: false, keys, null);
        return new ReadOnlySpan<double>(keys, panel.Length);
    }

    /// <summary>The panel's entries that are sent, one after the other; valid until the scratch is reset.</summary>
    private byte* PackedValues(int piece, Scratch scratch, ref long nonFinite)
    {
        if (_kept?[piece] is { } kept)
            return kept.Pointer;
        Grouping.Panel panel = _panels[piece];
        byte* values = scratch.Take((long)panel.Length * _size + IClientBackend.PackSlack);
        TensorPanel source;
        if (IsSoft)
        {
            byte* dense = scratch.Take((long)panel.Length * _size);
            nonFinite = Fill(panel, dense, scratch);
            source = new TensorPanel(dense, info.DType);
        }
        else
        {
            source = _local!.Read(panel.Start, panel.Length, scratch);
        }

        fixed (byte* mask = MaskOf(panel))
            run.Backend.Pack(source, panel.Length, mask, values);
        return values;
    }

    /// <summary>Makes one panel of the masked model, in the model's type; returns how many of its values are not finite.</summary>
    private long Fill(Grouping.Panel panel, byte* dense, Scratch scratch)
    {
        ImportanceInputs inputs = Read(panel, scratch, withMomentum: IsSoft);
        void* fill = run.Options.Fill == MaskFill.Zero ? null : inputs.Global.Data;
        fixed (byte* mask = MaskOf(panel))
        {
            MaskBits.Blend(inputs.Local.Data, fill, _size, panel.Length, mask, dense);
            if (IsSoft && !SendsConstant)
                Soften(panel, inputs, mask, dense, scratch);
            else if (run.Options.Mask == MaskRule.GaussianNoise)
                AddNoise(panel, fill, mask, dense);
            else
                return 0;
        }

        return run.Backend.CountNonFinite(new TensorPanel(dense, info.DType), panel.Length);
    }

    private void Soften(Grouping.Panel panel, in ImportanceInputs inputs, byte* mask, byte* dense, Scratch scratch)
    {
        double* s = (double*)scratch.Take((long)panel.Length * sizeof(double)), g = (double*)scratch.Take((long)panel.Length * sizeof(double));
        if (_updateImportance is not null)
        {
            Part(_updateImportance, panel).CopyTo(new Span<double>(s, panel.Length));
            Part(_globalImportance!, panel).CopyTo(new Span<double>(g, panel.Length));
        }
        else
        {
            run.Backend.Importance(inputs, panel.Length, _updateScale, _globalScale, run.Options.Importance == ImportanceRule.ZScore, s, g);
        }

        for (int i = 0; i < panel.Length; i++)
        {
            if ((mask[i / 8] >> i % 8 & 1) == 0)
                continue;
            double received = Rounding.Read(inputs.Global.Data, info.DType, i), trained = Rounding.Read(inputs.Local.Data, info.DType, i);
            double delta = trained - received, share = Math.Min(Share(s[i], g[i]) / _softMean, 1);
            // what lies between two numbers is finite where their difference is not
            double value = double.IsFinite(delta) ? Math.FusedMultiplyAdd(share, delta, received) : Math.FusedMultiplyAdd(share, trained, (1 - share) * received);
            Rounding.Write(dense, info.DType, i, value);
        }
    }

    private void AddNoise(Grouping.Panel panel, void* fill, byte* mask, byte* dense)
    {
        var noise = new GaussianNoise(run.Options.Seed, info.Name);
        for (int i = 0; i < panel.Length; i++)
        {
            if ((mask[i / 8] >> i % 8 & 1) != 0)
                continue;
            double value = fill == null ? 0 : Rounding.Read(fill, info.DType, i);
            Rounding.Write(dense, info.DType, i, Math.FusedMultiplyAdd(run.Options.Sigma * _deviation, noise[panel.Start + i], value));
        }
    }

    /// <summary>S / (S + G) of an entry that is sent, S > G; sigmoids that are both too small to be told from 0 are as good as equal.</summary>
    private static double Share(double s, double g) => s + g == 0 ? 0.5 : s / (s + g);

    /// <summary>Importances that need the whole tensor at once: the caller's own, and ranks; the others, and ranks for the top ratio, do not.</summary>
    private void MeasureWhole(Workers workers)
    {
        ImportanceFunction? own = run.Options.ImportanceFunction;
        bool top = run.Options.Mask == MaskRule.TopRatio;
        if (own is null && (run.Options.Importance != ImportanceRule.Rank || top))
            return;
        if (info.ElementCount > Array.MaxLength)
            throw new FedIcuException($"Tensor '{info.Name}' of {info} is too large for an importance that looks at all of it at once.");
        _updateImportance = Measure(workers, own, ofUpdate: true);
        _globalImportance = top ? [] : Measure(workers, own, ofUpdate: false);
    }

    private double[] Measure(Workers workers, ImportanceFunction? own, bool ofUpdate)
    {
        double[] magnitudes = new double[info.ElementCount], importances = new double[info.ElementCount];
        ForEachPanel(workers, (_, panel, in inputs, _) =>
        {
            fixed (double* part = Part(magnitudes, panel))
                run.Backend.Importance(inputs, panel.Length, Identity, Identity, sigmoid: false, ofUpdate ? part : null, ofUpdate ? null : part);
        });
        if (own is null)
        {
            AverageRanks(magnitudes, importances);
            return importances;
        }

        own(info.Name, magnitudes, importances);
        if (Array.Exists(importances, value => !double.IsFinite(value)))
            throw new FedIcuException($"Tensor '{info.Name}': the importance function gave values that are not finite.");
        if (IsSoft && Array.Exists(importances, value => value < 0))
            throw new FedIcuException($"Tensor '{info.Name}': the importance function gave negative values; the soft mask is a share of importances and expects none.");
        return importances;
    }

    /// <summary>The rank of each magnitude, 1 the smallest, equal ones their mean rank, over n. Sorts the magnitudes.</summary>
    private static void AverageRanks(double[] magnitudes, double[] ranks)
    {
        int[] order = [.. Enumerable.Range(0, magnitudes.Length)];
        Array.Sort(magnitudes, order);
        for (int first = 0, last; first < order.Length; first = last)
        {
            for (last = first + 1; last < order.Length && magnitudes[last] == magnitudes[first];)
                last++;
            for (int i = first; i < last; i++)
                ranks[order[i]] = (first + 1 + last) / 2.0 / magnitudes.Length;
        }
    }

    private void WriteMomentum(Workers workers)
    {
        if (run.MomentumOutput is null)
            return;
        ForEachPanel(workers, (_, panel, in inputs, scratch) =>
        {
            ImportanceInputs all = inputs;
            WritePanel(run.MomentumOutput, _momentumInfo, panel, scratch, momentum =>
                run.Backend.SelectImportant(all, panel.Length, Identity, Identity, null, new TensorPanel(momentum, _momentumInfo.DType)));
        });
    }

    /// <summary>The sample standard deviation of theta_k - theta_g, in two looks.</summary>
    private double DeviationOfDelta(Workers workers)
    {
        if (info.ElementCount < 2)
            return 0;
        // squares of smaller deviations lose digits to underflow
        const double Least = 1e-144;
        double deviation = DeviationOfDelta(workers, 1);
        if (deviation is >= Least and <= double.MaxValue)
            return deviation;
        double factor = deviation < Least ? SumScale.Up : SumScale.Down;
        return DeviationOfDelta(workers, factor) / factor;
    }

    private double DeviationOfDelta(Workers workers, double factor)
    {
        double mean = SumOfDelta(workers, factor, null) / info.ElementCount;
        return Math.Sqrt(SumOfDelta(workers, factor, mean) / (info.ElementCount - 1));
    }

    /// <summary>The sum of delta times a power of two, or of its squared deviations from a mean.</summary>
    private double SumOfDelta(Workers workers, double factor, double? mean)
    {
        // neither may the difference overflow, nor may large values that are equal
        double before = Math.Min(factor, 1), after = Math.Max(factor, 1);
        double[] sums = new double[_panels.Count];
        ForEachPanel(workers, (piece, panel, in inputs, _) =>
        {
            double sum = 0;
            for (int i = 0; i < panel.Length; i++)
            {
                double delta = after * (before * Rounding.Read(inputs.Local.Data, info.DType, i) - before * Rounding.Read(inputs.Global.Data, info.DType, i));
                sum += mean is { } center ? (delta - center) * (delta - center) : delta;
            }

            sums[piece] = sum;
        });
        return sums.Sum();
    }

    private static ImportanceScale Identity => new(0, 1);

    private delegate void PanelMaker(byte* target);

    /// <summary>Makes a panel of an output where the sink has it, or in the scratch and writes it; without a sink the panel has no data.</summary>
    private static void WritePanel(TensorSink? sink, TensorInfo output, Grouping.Panel panel, Scratch scratch, PanelMaker make)
    {
        int size = output.DType.BitSize / 8;
        byte* inPlace = sink is null ? null : (byte*)sink.TryGetPointer(output);
        if (sink is null || inPlace != null)
        {
            make(inPlace == null ? null : inPlace + panel.Start * size);
            return;
        }

        byte* made = scratch.Take((long)panel.Length * size);
        make(made);
        sink.Write(output, panel.Start * size, new ReadOnlySpan<byte>(made, panel.Length * size));
    }

    private delegate void PanelAction(int piece, Grouping.Panel panel, in ImportanceInputs inputs, Scratch scratch);

    private void ForEachPanel(Workers workers, PanelAction action, bool parallel = true) => workers.Run(_panels.Count, parallel && _panels.Count > 1, (piece, scratch) =>
        action(piece, _panels[piece], Read(_panels[piece], scratch), scratch));

    private ImportanceInputs Read(Grouping.Panel panel, Scratch scratch, bool withMomentum = true) =>
        Read(panel, _global!.Read(panel.Start, panel.Length, scratch), scratch, withMomentum);

    private ImportanceInputs Read(Grouping.Panel panel, TensorPanel global, Scratch scratch, bool withMomentum = true) => new(
        global, _local!.Read(panel.Start, panel.Length, scratch),
        withMomentum && _momentum is not null ? _momentum.Read(panel.Start, panel.Length, scratch) : default, _rule, run.Options.Beta);

    private static ImportanceInputs From(in ImportanceInputs inputs, int start) => inputs with
    {
        Global = From(inputs.Global, start),
        Local = From(inputs.Local, start),
        Momentum = From(inputs.Momentum, start),
    };

    private static TensorPanel From(TensorPanel panel, int start) => Panel((byte*)panel.Data, panel.DType, start, panel.OnDevice);

    private static TensorPanel Panel(byte* data, DType dtype, int start, bool onDevice = false) => data == null ? default : new TensorPanel(data + (long)start * dtype.BitSize / 8, dtype, onDevice);

    private Span<byte> MaskOf(Grouping.Panel panel) => _mask.AsSpan((int)(panel.Start / 8), (panel.Length + 7) / 8);

    private static Span<double> Part(double[] all, Grouping.Panel panel) => all.AsSpan((int)panel.Start, panel.Length);
}
