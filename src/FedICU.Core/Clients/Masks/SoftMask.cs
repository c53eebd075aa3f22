using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>
/// <see cref="MaskRule.Soft"/>: sends the entries whose update is more important, as theta_g + min(m / mean(m), 1)
/// delta. Here m = S / (S + G), with the importances S of the update and G of the received model.
/// </summary>
internal sealed unsafe class SoftMask(ClientTensor tensor, MagnitudeScales scales) : ComparingMask(tensor, scales)
{
    public override bool WritesFromImportances => true;

    public override bool WritesFromMomentum => true;

    public override bool ComputesValues => !IsConstant;

    protected override bool MeasuresShares => true;

    public override void ComputeValues(
        Grouping.Panel panel, in ImportanceInputs inputs, void* fill, void* values, WholeImportances? importances, Scratch scratch)
    {
        double* update = (double*)scratch.Take((long)panel.Length * sizeof(double));
        double* global = (double*)scratch.Take((long)panel.Length * sizeof(double));
        if (importances is null)
        {
            ComputeImportances(inputs, panel.Length, update, global);
        }
        else
        {
            WholeImportances.PartOf(importances.Update, panel).CopyTo(new Span<double>(update, panel.Length));
            WholeImportances.PartOf(importances.Global, panel).CopyTo(new Span<double>(global, panel.Length));
        }

        DType dtype = Tensor.Info.DType;
        fixed (byte* mask = BitsOf(panel))
        {
            for (int i = 0; i < panel.Length; i++)
            {
                if (!IsSet(mask, i))
                    continue;
                double received = Rounding.Read(inputs.Global.Data, dtype, i), trained = Rounding.Read(inputs.Local.Data, dtype, i);
                double share = Math.Min(ShareOf(update[i], global[i]) / MeanShare, 1);
                Rounding.Write(values, dtype, i, Interpolate(received, trained, share));
            }
        }
    }

    /// <summary>
    /// Returns received + share (trained - received). It is finite even if the difference overflows float64.
    /// </summary>
    private static double Interpolate(double received, double trained, double share)
    {
        double delta = trained - received;
        return double.IsFinite(delta)
            ? Math.FusedMultiplyAdd(share, delta, received)
            : Math.FusedMultiplyAdd(share, trained, (1 - share) * received);
    }
}
