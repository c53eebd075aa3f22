using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Strategies.Robust;

/// <summary>
/// The inner product of each client's update with the root's, the squared norm of each update, and that of the root's
/// last: 2 N + 1 sums.
/// </summary>
internal sealed class RootProducts : RoundStatistic
{
    public override string Name => "fltrust.products";

    public override int Count(int clients) => 2 * clients + 1;

    public override void Measure(TensorContext tensor, Span<double> sums)
    {
        int clients = tensor.Clients.Count;
        using PanelReader root = tensor.OpenModel(FlTrust.RootName);
        PanelReader[] inputs = [.. tensor.Inputs(UpdateForm.Delta, withGlobal: false), tensor.Subtract(root)];
        Grouping grouping = tensor.Passes.GroupingBy(NormAxis.Tensor);
        using GroupBuffer squares = tensor.Passes.Squares(inputs, grouping);
        using GroupBuffer ones = tensor.Passes.NewGroups(clients + 1, 1), last = tensor.Passes.NewGroups(clients + 1, 1);
        for (int k = 0; k <= clients; k++)
            (ones[k][0], last[k][0]) = (1, k < clients ? 0 : 1);
        double[] products = new double[clients + 1];
        tensor.Passes.Projections(inputs, grouping, ones, last, products);
        products.AsSpan(0, clients).CopyTo(sums);
        for (int k = 0; k <= clients; k++)
            sums[clients + k] = squares[k][0];
    }
}
