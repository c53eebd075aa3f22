using System.Security.Cryptography;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Text;

namespace FedICU.Clients.Masks;

/// <summary>
/// The first pass over a tensor: measures the scales of its magnitudes, hashes the received values, and refuses values
/// that are not finite.
/// </summary>
internal sealed unsafe class ScaleMeasurement(ClientTensor tensor, Workers workers)
{
    // Smaller sums of squared deviations may have lost digits to underflow. Those deviations are of magnitudes below
    // 1e-128 (derived from the smallest normal float64).
    private const double LeastSquares = 1e-289;

    private readonly MaskRun _run = tensor.Run;
    private readonly List<Grouping.Panel> _panels = tensor.Panels;

    /// <summary>
    /// Gets the SHA-256 of the received values after <see cref="Measure"/>; empty if it is not needed.
    /// </summary>
    public byte[] Hash { get; private set; } = [];

    /// <summary>Runs the pass.</summary>
    /// <exception cref="InvalidModelException">
    /// An input or the difference of two is not finite, or u does not fit the momentum's type.
    /// </exception>
    public MagnitudeScales Measure()
    {
        var updates = new MagnitudeMoments[_panels.Count];
        var globals = new MagnitudeMoments[_panels.Count];
        long[] nonFinite = new long[_panels.Count];
        using IncrementalHash? hash = _run.Hashes ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        int next = -1;
        var gate = new Lock();
        workers.Run(_panels.Count, _panels.Count > 1, (_, scratch) =>
        {
            int piece;
            Grouping.Panel panel;
            TensorPanel global;
            // The hash takes the bytes in order, one panel at a time. A thread measures its panel while another hashes
            // the next.
            lock (gate)
            {
                panel = _panels[piece = ++next];
                global = tensor.ReadGlobal(panel, scratch);
                hash?.AppendData(BytesOnHost(panel, global, scratch));
            }

            ImportanceInputs inputs = tensor.Read(panel, global, scratch);
            MagnitudeMoments u = default, g = default;
            _run.Backend.AddMoments(inputs, panel.Length, ref u, ref g);
            (updates[piece], globals[piece]) = (u, g);
            // a supplied u is not computed from the trained model, which is sent all the same
            if (inputs.Rule == MomentumRule.Supplied)
                nonFinite[piece] = _run.Backend.CountNonFinite(inputs.Local, panel.Length);
        });
        Hash = hash?.GetHashAndReset() ?? [];
        MagnitudeMoments update = Merge(updates), global = Merge(globals);
        if (nonFinite.Sum() > 0 || !double.IsFinite(update.Maximum) || !double.IsFinite(global.Maximum))
            RefuseNonFinite();
        DType momentumType = tensor.MomentumInfo.DType;
        if (_run.MomentumOutput is not null && !double.IsFinite(Rounding.Round(momentumType, update.Maximum)))
        {
            throw new InvalidModelException(
                $"Tensor '{tensor.Info.Name}': its momentum has magnitudes up to {Numbers.Invariant(update.Maximum)}, " +
                $"which do not fit {momentumType.SafetensorsName}.");
        }

        return new MagnitudeScales(
            ScaleOf(update, ofUpdate: true), ScaleOf(global, ofUpdate: false),
            UpdateIsConstant: update.Minimum == update.Maximum, UpdateIsZero: update.Maximum == 0);
    }

    private static MagnitudeMoments Merge(MagnitudeMoments[] panels)
    {
        MagnitudeMoments all = default;
        foreach (MagnitudeMoments moments in panels)
            all.Merge(moments);
        return all;
    }

    private ImportanceScale ScaleOf(in MagnitudeMoments moments, bool ofUpdate)
    {
        if (_run.Options.Importance == ImportanceRule.MinMax)
            return new ImportanceScale(moments.Minimum, moments.Maximum - moments.Minimum);
        if (moments.Minimum == moments.Maximum)
            return new ImportanceScale(moments.Maximum, 0);
        bool overflowed = !double.IsFinite(moments.Mean) || !double.IsFinite(moments.SquaredDeviations);
        if (!overflowed && !(moments.SquaredDeviations < LeastSquares))
            return new ImportanceScale(moments.Mean, moments.StandardDeviation);
        double factor = overflowed ? SumScale.Down : SumScale.Up;
        MagnitudeMoments scaled = MeasureScaled(factor, ofUpdate);
        // magnitudes that differ have a deviation above 0, however small
        return new ImportanceScale(scaled.Mean / factor, Math.Max(scaled.StandardDeviation / factor, double.Epsilon));
    }

    /// <summary>
    /// Measures |u| or |g| multiplied by a power of two, because the squares of the unscaled values overflow or
    /// underflow.
    /// </summary>
    private MagnitudeMoments MeasureScaled(double factor, bool ofUpdate)
    {
        using ClientTensor onHost = new ClientTensor(_run, tensor.Info).Open(onDevice: false);
        var parts = new MagnitudeMoments[_panels.Count];
        workers.Run(_panels.Count, _panels.Count > 1, (piece, scratch) =>
        {
            Grouping.Panel panel = _panels[piece];
            TensorPanel values = onHost.ReadGlobal(panel, scratch), scaled = NewPanel();
            if (ofUpdate)
            {
                // without a mask, SelectImportant writes u itself
                ImportanceInputs inputs = onHost.Read(panel, values, scratch);
                values = NewPanel();
                _run.Backend.SelectImportant(
                    inputs, panel.Length, MagnitudeScales.Identity, MagnitudeScales.Identity, null, values);
            }

            _run.Backend.WeightedSum([values], [factor], 1, panel.Length, scaled);
            // a supplied momentum is u as it is
            var ofScaled = new ImportanceInputs(scaled, default, scaled, MomentumRule.Supplied, 0);
            MagnitudeMoments u = default, g = default;
            _run.Backend.AddMoments(ofScaled, panel.Length, ref u, ref g);
            parts[piece] = u;

            TensorPanel NewPanel() => new(scratch.Take((long)panel.Length * sizeof(double)), DType.F64);
        });
        return Merge(parts);
    }

    /// <summary>Returns a panel's bytes in host memory; a panel on a device is read again from the source.</summary>
    private ReadOnlySpan<byte> BytesOnHost(Grouping.Panel panel, TensorPanel global, Scratch scratch)
    {
        int size = tensor.ElementSize;
        void* data = global.OnDevice ? scratch.Take((long)panel.Length * size) : global.Data;
        var bytes = new Span<byte>(data, panel.Length * size);
        if (global.OnDevice)
            _run.Global.Read(tensor.Info, panel.Start * size, bytes);
        return bytes;
    }

    private void RefuseNonFinite()
    {
        string name = tensor.Info.Name;
        foreach ((string what, PanelReader? reader, TensorSource? source) in new[]
        {
            ("received model's", tensor.Global, _run.Global),
            ("trained model's", tensor.Local, _run.Local),
            ("momentum's", tensor.Momentum, _run.Momentum),
        })
        {
            long count = 0;
            workers.Run(reader is null ? 0 : _panels.Count, parallel: false, (piece, scratch) =>
            {
                TensorPanel panel = reader!.Read(_panels[piece].Start, _panels[piece].Length, scratch);
                count += _run.Backend.CountNonFinite(panel, _panels[piece].Length);
            });
            if (count > 0)
            {
                throw new InvalidModelException(
                    $"'{source!.Location}': the {what} tensor '{name}' has {Sentence.NonFinite(count)}; finite values were expected.");
            }
        }

        throw new InvalidModelException(
            $"Tensor '{name}': the difference between the trained and the received model is too large for F64, from finite values.");
    }
}
