using FedICU.Panels;

namespace FedICU.Strategies.Robust;

/// <summary>
/// The squared norm of each client's update and of the root's, then the inner product of each with the root's: 2 (N +
/// 1) sums.
/// </summary>
internal sealed class RootProducts : RoundStatistic
{
    public override string Name => "fltrust.products";

    public override int Count(int clients) => 2 * (clients + 1);

    public override void Measure(TensorContext tensor, Span<double> sums)
    {
        using PanelReader root = tensor.OpenModel(FlTrust.RootName);
        tensor.AddDistances(root, sums);
    }
}
