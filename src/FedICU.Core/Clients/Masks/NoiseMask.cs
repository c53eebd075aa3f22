using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>
/// <see cref="MaskRule.GaussianNoise"/>: the entries whose update is not more important get
/// fill + sigma std(delta) N(0,1), as in FedCDD. The update is dense.
/// </summary>
internal sealed unsafe class NoiseMask(ClientTensor tensor, MagnitudeScales scales) : ComparingMask(tensor, scales)
{
    // the squares of smaller deviations lose digits to underflow (derived from the smallest normal float64)
    private const double LeastDeviation = 1e-144;

    // elements whose noise is computed at once: 4 KiB of float64 stay in the L1 cache (chosen)
    private const int Block = 512;

    // std(delta), delta = theta_k - theta_g
    private double _deviation;

    public override bool ComputesValues => true;

    public override long Select(WholeImportances? importances, Workers workers)
    {
        _deviation = MeasureDeviation(workers);
        return base.Select(importances, workers);
    }

    public override void ComputeValues(
        Grouping.Panel panel, in ImportanceInputs inputs, void* fill, void* values, WholeImportances? importances, Scratch scratch)
    {
        DType dtype = Tensor.Info.DType;
        var noise = new GaussianNoise(Run.Options.Seed, Tensor.Info.Name);
        Span<double> noisy = stackalloc double[Block];
        fixed (byte* mask = BitsOf(panel))
        {
            for (int start = 0; start < panel.Length; start += Block)
            {
                int count = Math.Min(Block, panel.Length - start);
                for (int i = 0; i < count; i++)
                    noisy[i] = fill == null ? 0 : Rounding.Read(fill, dtype, start + i);
                noise.AddTo(panel.Start + start, Run.Options.Sigma * _deviation, noisy[..count]);
                for (int i = 0; i < count; i++)
                {
                    if (!IsSet(mask, start + i))
                        Rounding.Write(values, dtype, start + i, noisy[i]);
                }
            }
        }
    }

    /// <summary>Measures the sample standard deviation of delta in two passes.</summary>
    private double MeasureDeviation(Workers workers)
    {
        if (Tensor.Info.ElementCount < 2)
            return 0;
        double deviation = MeasureDeviation(workers, 1);
        if (deviation is >= LeastDeviation and <= double.MaxValue)
            return deviation;
        double factor = deviation < LeastDeviation ? SumScale.Up : SumScale.Down;
        return MeasureDeviation(workers, factor) / factor;
    }

    /// <summary>Measures the deviation of delta multiplied by a power of two.</summary>
    private double MeasureDeviation(Workers workers, double factor)
    {
        double mean = Sum(workers, factor, null) / Tensor.Info.ElementCount;
        return Math.Sqrt(Sum(workers, factor, mean) / (Tensor.Info.ElementCount - 1));
    }

    /// <summary>
    /// Sums delta multiplied by a power of two, or, if a mean is given, its squared deviations from that mean.
    /// </summary>
    private double Sum(Workers workers, double factor, double? mean)
    {
        // a factor below 1 is applied before the subtraction, which could overflow; a factor above 1 after it
        double before = Math.Min(factor, 1), after = Math.Max(factor, 1);
        DType dtype = Tensor.Info.DType;
        double[] sums = new double[Tensor.Panels.Count];
        Tensor.ForEachPanel(workers, (piece, panel, in inputs, _) =>
        {
            double sum = 0;
            for (int i = 0; i < panel.Length; i++)
            {
                double trained = before * Rounding.Read(inputs.Local.Data, dtype, i);
                double delta = after * (trained - before * Rounding.Read(inputs.Global.Data, dtype, i));
                sum += mean is { } center ? (delta - center) * (delta - center) : delta;
            }

            sums[piece] = sum;
        });
        return sums.Sum();
    }
}
