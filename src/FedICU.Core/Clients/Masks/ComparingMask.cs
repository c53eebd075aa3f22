using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>
/// Sends the entries whose update is more important than the received model (docs/algorithms.md, Ties).
/// </summary>
internal abstract unsafe class ComparingMask(ClientTensor tensor, MagnitudeScales scales) : TensorMask(tensor, scales)
{
    // Elements that go through all steps at once: their inputs and float64 importances stay in the second-level cache.
    // A multiple of 8, because the mask is packed in bytes (chosen).
    private const int Chunk = 1 << 13;

    // A received model of equal magnitudes has a spread of 0, for which SelectImportant sends every entry, as z-scores
    // ask for. Min-max importances are then all 0. An infinite spread gives that.
    private readonly ImportanceScale _compared = scales.Global.Spread == 0 && tensor.Run.Options.Importance == ImportanceRule.MinMax
        ? new(0, double.PositiveInfinity)
        : scales.Global;

    /// <summary>
    /// Gets whether all entries are sent unchanged, or none if u is 0: all |u| are equal. A caller's own importance may
    /// still tell them apart.
    /// </summary>
    protected bool IsConstant => Scales.UpdateIsConstant && Run.Options.ImportanceFunction is null;

    /// <summary>Gets the values to keep while selecting; null keeps none.</summary>
    protected virtual KeptValues? Kept => null;

    /// <summary>Gets whether <see cref="MeanShare"/> is measured.</summary>
    protected virtual bool MeasuresShares => false;

    /// <summary>Gets the mean over the sent entries of <see cref="ShareOf"/>; 1 if none is sent.</summary>
    protected double MeanShare { get; private set; }

    public override long Select(WholeImportances? importances, Workers workers)
    {
        long[] counts = new long[Tensor.Panels.Count];
        double[] shares = new double[Tensor.Panels.Count];
        if (importances is null)
        {
            SelectByScales(workers, counts, shares);
        }
        else
        {
            WriteMomentum(workers);
            SelectByImportances(importances, workers, counts, shares);
        }

        long sent = counts.Sum();
        MeanShare = sent == 0 ? 1 : shares.Sum() / sent;
        return sent;
    }

    /// <summary>
    /// Returns m = S / (S + G) of an entry with the importances S > G. Two sigmoids that are both 0 in float64 count as
    /// equal.
    /// </summary>
    protected static double ShareOf(double update, double global) => update + global == 0 ? 0.5 : update / (update + global);

    /// <summary>Computes the importances of a run of elements.</summary>
    protected void ComputeImportances(in ImportanceInputs inputs, int length, double* update, double* global) =>
        Run.Backend.Importance(
            inputs, length, Scales.Update, Scales.Global, Run.Options.Importance == ImportanceRule.ZScore, update, global);

    /// <summary>The second pass over the inputs: the mask, the momentum, the values to keep and the shares.</summary>
    private void SelectByScales(Workers workers, long[] counts, double[] shares)
    {
        var writer = new PanelWriter(Run.MomentumOutput, Tensor.MomentumInfo);
        Tensor.ForEachPanel(workers, (piece, panel, in inputs, scratch) =>
        {
            byte* kept = Kept is null ? null : Kept.TryBegin(panel, scratch);
            TensorPanel momentum = writer.Begin(panel.Start, panel.Length, scratch);
            (counts[piece], shares[piece]) = SelectPanel(panel, inputs, momentum, kept, scratch);
            writer.End(momentum, panel.Start, panel.Length);
            if (kept != null)
                Kept!.End(piece, kept, counts[piece]);
        });
    }

    private (long Count, double Shares) SelectPanel(
        Grouping.Panel panel, in ImportanceInputs inputs, TensorPanel momentum, byte* kept, Scratch scratch)
    {
        int chunk = inputs.Global.OnDevice ? panel.Length : Chunk;
        bool addsShares = MeasuresShares && !IsConstant;
        double* importances = (double*)(addsShares ? scratch.Take(2L * chunk * sizeof(double)) : null);
        long count = 0;
        double shares = 0;
        fixed (byte* bits = BitsOf(panel))
        {
            for (int start = 0; start < panel.Length; start += chunk)
            {
                int length = Math.Min(chunk, panel.Length - start);
                byte* mask = bits + start / 8;
                ImportanceInputs part = inputs with
                {
                    Global = inputs.Global.From(start),
                    Local = inputs.Local.From(start),
                    Momentum = inputs.Momentum.From(start),
                };
                long selected = Run.Backend.SelectImportant(part, length, Scales.Update, _compared, mask, momentum.From(start));
                if (kept != null)
                    Run.Backend.Pack(part.Local, length, mask, kept + count * Tensor.ElementSize);
                if (addsShares && selected > 0)
                    shares = AddShares(shares, part, length, mask, importances);
                count += selected;
            }
        }

        return (count, shares);
    }

    private double AddShares(double sum, in ImportanceInputs inputs, int length, byte* mask, double* importances)
    {
        double* update = importances, global = importances + length;
        ComputeImportances(inputs, length, update, global);
        for (int i = 0; i < length; i++)
        {
            if (IsSet(mask, i))
                sum += ShareOf(update[i], global[i]);
        }

        return sum;
    }

    private void SelectByImportances(WholeImportances importances, Workers workers, long[] counts, double[] shares) =>
        workers.Run(Tensor.Panels.Count, Tensor.Panels.Count > 1, (piece, _) =>
        {
            Grouping.Panel panel = Tensor.Panels[piece];
            ReadOnlySpan<double> update = WholeImportances.PartOf(importances.Update, panel);
            ReadOnlySpan<double> global = WholeImportances.PartOf(importances.Global, panel);
            Span<byte> mask = BitsOf(panel);
            long count = 0;
            double sum = 0;
            for (int i = 0; i < update.Length; i++)
            {
                bool isSent = IsConstant
                    ? !Scales.UpdateIsZero
                    : update[i] - global[i] > ScalarMath.Tie * (1 + Math.Abs(global[i]));
                if (!isSent)
                    continue;
                Set(mask, i);
                count++;
                sum += ShareOf(update[i], global[i]);
            }

            (counts[piece], shares[piece]) = (count, sum);
        });
}
