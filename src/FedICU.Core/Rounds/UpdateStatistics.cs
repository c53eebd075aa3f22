using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Rounds;

/// <summary>
/// For each client, the norms of its parameters and of its update, and its update's cosine to the weighted mean update.
/// </summary>
internal sealed record UpdateStatistics(double[] Norms, double[] UpdateNorms, double[] Cosines)
{
    public static UpdateStatistics Measure(TensorContext tensor)
    {
        int clients = tensor.Clients.Count;
        var whole = tensor.Passes.GroupingBy(NormAxis.Tensor);
        double[] norms = ComputeNorms(tensor, tensor.Inputs(UpdateForm.Parameters, withGlobal: false), whole);
        PanelReader[] updates = tensor.Inputs(UpdateForm.Delta, withGlobal: false);
        double[] updateNorms = ComputeNorms(tensor, updates, whole);
        // inner products overflow float64 only if squares do: then the updates are divided by the largest norm first
        double largest = updateNorms.Max(), unit = double.IsFinite(largest * largest) ? 1 : 1 / largest;
        using var ones = tensor.Passes.NewGroups(clients, 1);
        using var shares = tensor.Passes.NewGroups(clients, 1);
        for (int k = 0; k < clients; k++)
            (ones[k][0], shares[k][0]) = (unit, unit * tensor.Clients[k].Share);
        double[] dots = new double[clients];
        tensor.Passes.Projections(updates, whole, ones, shares, dots);
        // ||D||^2 = <sum p_k d_k, D>
        double meanSquare = dots.Select((dot, k) => tensor.Clients[k].Share * dot).Sum();
        double meanNorm = Math.Sqrt(Math.Max(meanSquare, 0));
        return new UpdateStatistics(
            norms,
            updateNorms,
            [.. dots.Select((dot, k) => updateNorms[k] > 0 && meanNorm > 0 ? dot / (unit * updateNorms[k] * meanNorm) : 0)]);
    }

    private static double[] ComputeNorms(TensorContext tensor, PanelReader[] inputs, Grouping whole)
    {
        using GroupBuffer norms = tensor.Passes.Squares(inputs, whole);
        for (int k = 0; k < inputs.Length; k++)
            norms[k][0] = Math.Sqrt(norms[k][0]);
        tensor.Passes.RestoreNorms(norms, inputs, whole);
        return [.. inputs.Select((_, k) => norms[k][0])];
    }
}
