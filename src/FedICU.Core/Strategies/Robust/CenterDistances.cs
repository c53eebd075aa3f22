using FedICU.Panels;

namespace FedICU.Strategies.Robust;

/// <summary>
/// The squared distances of all pairs of the clients' updates and, after them, of each update to the center of the
/// round before; in a first round it is 0.
/// </summary>
internal sealed class CenterDistances : RoundStatistic
{
    public override string Name => "centered-clip.distances";

    public override int Count(int clients) => checked((int)((long)clients * (clients + 1) / 2));

    public override void Measure(TensorContext tensor, Span<double> sums)
    {
        using PanelReader? center = tensor.OpenState(CenteredClip.Slot);
        int clients = tensor.Clients.Count, pairs = clients * (clients - 1) / 2;
        // the distance of d_k to the center v is that of y_k to x + v
        PanelReader? last = !tensor.SendsParameters ? center : center is null ? tensor.Global : tensor.AddGlobal(center);
        if (last is not null)
        {
            UpdateForm form = tensor.SendsParameters ? UpdateForm.Parameters : UpdateForm.Delta;
            tensor.Passes.AddPairDistances([.. tensor.Inputs(form, withGlobal: false), last], sums);
            return;
        }

        tensor.AddPairDistances(sums[..pairs]);
        tensor.AddSquaredNorms(sums[pairs..]);
    }
}
