using System.Collections.Concurrent;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>
/// <see cref="MaskRule.TopRatio"/>: exactly the ceil(ratio n) entries of the largest importance are sent; among equal
/// ones, those of the lower flat index.
/// </summary>
internal sealed unsafe class TopRatioMask(ClientTensor tensor, MagnitudeScales scales) : TensorMask(tensor, scales)
{
    public override long Select(WholeImportances? importances, Workers workers)
    {
        WriteMomentum(workers);
        long elements = Tensor.Info.ElementCount;
        if (elements == 0)
            return 0;
        // in decimal, as the ratio is written: 0.07 of 100 is 7
        long wanted = Math.Clamp((long)Math.Ceiling((decimal)Run.Options.TopRatio * elements), 1, elements);
        SetBits(FindThreshold(wanted, importances, workers), wanted, importances, workers);
        return wanted;
    }

    /// <summary>Finds the importance of the last entry that is sent, in one pass for each digit of it.</summary>
    private RadixSelection FindThreshold(long wanted, WholeImportances? importances, Workers workers)
    {
        var selection = new RadixSelection(wanted);
        var histograms = new ConcurrentBag<long[]>();
        while (!selection.IsDone)
        {
            foreach (long[] histogram in histograms)
                Array.Clear(histogram);
            Tensor.ForEachPanel(workers, (_, panel, in inputs, scratch) =>
            {
                if (!histograms.TryTake(out long[]? histogram))
                    histogram = new long[RadixSelection.Digits];
                selection.Add(ImportancesOf(panel, inputs, importances, scratch), histogram);
                histograms.Add(histogram);
            });
            selection.Narrow(histograms);
        }

        return selection;
    }

    private void SetBits(RadixSelection selection, long wanted, WholeImportances? importances, Workers workers)
    {
        double threshold = selection.Threshold;
        long tiesLeft = wanted - selection.Above;
        // if only some of the ties are sent, panels run in order, because the first ties are the ones
        bool sendsAllTies = tiesLeft == selection.Ties;
        Tensor.ForEachPanel(workers, (_, panel, in inputs, scratch) =>
        {
            ReadOnlySpan<double> values = ImportancesOf(panel, inputs, importances, scratch);
            Span<byte> mask = BitsOf(panel);
            for (int i = 0; i < values.Length; i++)
            {
                if (values[i] > threshold || values[i] == threshold && (sendsAllTies || tiesLeft-- > 0))
                    Set(mask, i);
            }
        }, parallel: sendsAllTies);
    }

    /// <summary>
    /// Returns what entries are ranked by: a caller's own importance, or |u|, which every built-in importance grows
    /// with.
    /// </summary>
    private ReadOnlySpan<double> ImportancesOf(
        Grouping.Panel panel, in ImportanceInputs inputs, WholeImportances? importances, Scratch scratch)
    {
        if (importances is not null)
            return WholeImportances.PartOf(importances.Update, panel);
        double* magnitudes = (double*)scratch.Take((long)panel.Length * sizeof(double));
        Run.Backend.Importance(
            inputs, panel.Length, MagnitudeScales.Identity, MagnitudeScales.Identity, sigmoid: false, magnitudes, null);
        return new ReadOnlySpan<double>(magnitudes, panel.Length);
    }
}
