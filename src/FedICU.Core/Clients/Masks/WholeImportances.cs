using FedICU.Compute;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>Importances that need a whole tensor at once: ranks, and a caller's own.</summary>
/// <param name="Update">The importance of each element of the update u.</param>
/// <param name="Global">The importance of each element of the received model; empty for the top ratio.</param>
internal sealed record WholeImportances(double[] Update, double[] Global)
{
    /// <summary>
    /// Measures them; null if the options do not need them. The top ratio does not need ranks, as it ranks u by itself.
    /// </summary>
    public static WholeImportances? Measure(ClientTensor tensor, Workers workers)
    {
        FedIcuClientOptions options = tensor.Run.Options;
        bool top = options.Mask == MaskRule.TopRatio;
        if (options.ImportanceFunction is null && (options.Importance != ImportanceRule.Rank || top))
            return null;
        if (tensor.Info.ElementCount > Array.MaxLength)
            throw new FedIcuException($"Tensor '{tensor.Info.Name}' of {tensor.Info} is too large for an importance of the whole tensor.");
        return new WholeImportances(Measure(tensor, workers, ofUpdate: true), top ? [] : Measure(tensor, workers, ofUpdate: false));
    }

    /// <summary>Returns a panel's part of all elements' values.</summary>
    public static Span<double> PartOf(double[] all, Grouping.Panel panel) => all.AsSpan((int)panel.Start, panel.Length);

    private static unsafe double[] Measure(ClientTensor tensor, Workers workers, bool ofUpdate)
    {
        double[] magnitudes = new double[tensor.Info.ElementCount], importances = new double[tensor.Info.ElementCount];
        tensor.ForEachPanel(workers, (_, panel, in inputs, _) =>
        {
            ImportanceScale identity = MagnitudeScales.Identity;
            fixed (double* part = PartOf(magnitudes, panel))
            {
                tensor.Run.Backend.Importance(
                    inputs, panel.Length, identity, identity, sigmoid: false, ofUpdate ? part : null, ofUpdate ? null : part);
            }
        });
        if (tensor.Run.Options.ImportanceFunction is { } own)
            Compute(own, tensor, magnitudes, importances);
        else
            RankAverage(magnitudes, importances);
        return importances;
    }

    private static void Compute(ImportanceFunction own, ClientTensor tensor, double[] magnitudes, double[] importances)
    {
        string name = tensor.Info.Name;
        own(name, magnitudes, importances);
        if (Array.Exists(importances, value => !double.IsFinite(value)))
            throw new FedIcuException($"Tensor '{name}': the importance function gave values that are not finite.");
        if (tensor.Run.Options.Mask == MaskRule.Soft && Array.Exists(importances, value => value < 0))
        {
            throw new FedIcuException(
                $"Tensor '{name}': the importance function gave negative values; a soft mask expects importances of at least 0.");
        }
    }

    /// <summary>
    /// Computes the rank of each magnitude over their number n, from 1 for the smallest. Equal magnitudes share the
    /// mean of their ranks. Sorts the magnitudes.
    /// </summary>
    private static void RankAverage(double[] magnitudes, double[] ranks)
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
}
