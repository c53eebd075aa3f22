using FedICU.Compute;

namespace FedICU;

/// <summary>For each client, the norms of its parameters and of its update, and its update's cosine to the weighted mean update.</summary>
internal sealed record UpdateStatistics(double[] Norms, double[] UpdateNorms, double[] Cosines)
{
    public static UpdateStatistics Measure(TensorContext tensor)
    {
        int clients = tensor.Clients.Count;
        var whole = tensor.GroupingBy(NormAxis.Tensor);
        using GroupBuffer squares = tensor.Squares(tensor.Inputs(UpdateForm.Parameters, withGlobal: false), whole);
        PanelReader[] updates = tensor.Inputs(UpdateForm.Delta, withGlobal: false);
        using GroupBuffer updateSquares = tensor.Squares(updates, whole);
        using var ones = tensor.NewGroups(clients, 1);
        using var shares = tensor.NewGroups(clients, 1);
        for (int k = 0; k < clients; k++)
            (ones[k][0], shares[k][0]) = (1, tensor.Clients[k].Share);
        double[] dots = new double[clients];
        tensor.Projections(updates, whole, ones, shares, dots);
        // ||D||^2 = <sum p_k d_k, D>
        double meanSquare = dots.Select((dot, k) => tensor.Clients[k].Share * dot).Sum();
        double[] updateNorms = [.. Enumerable.Range(0, clients).Select(k => Math.Sqrt(updateSquares[k][0]))];
        double meanNorm = Math.Sqrt(Math.Max(meanSquare, 0));
        return new UpdateStatistics(
            [.. Enumerable.Range(0, clients).Select(k => Math.Sqrt(squares[k][0]))],
            updateNorms,
            [.. dots.Select((dot, k) => updateNorms[k] > 0 && meanNorm > 0 ? dot / (updateNorms[k] * meanNorm) : 0)]);
    }
}
