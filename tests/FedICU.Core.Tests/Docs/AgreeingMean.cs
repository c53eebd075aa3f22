using FedICU;

namespace MyFederation;

/// <summary>
/// The mean of the updates that agree: for each element, those whose sign is the sign of the weighted sum of all.
/// </summary>
public sealed class AgreeingMean : MergeRule
{
    public override string Name => "agreeing-mean";

    // called for several tensors at once; calls exactly one verb that writes the output
    public override void Merge(TensorContext tensor)
    {
        double[] weights = [.. tensor.Clients.Select(client => client.MergeWeight)];
        tensor.ForEachElement(UpdateForm.Delta, updates => Mean(updates, weights));
    }

    // called from several threads; the values of one element come in the order of tensor.Clients
    private static double Mean(ReadOnlySpan<double> updates, double[] weights)
    {
        double all = 0, agreeing = 0, weight = 0;
        for (int k = 0; k < updates.Length; k++)
            all += weights[k] * updates[k];
        for (int k = 0; k < updates.Length; k++)
        {
            // a sum of 0 counts as positive, as in TIES
            if (updates[k] != 0 && updates[k] > 0 == all >= 0)
                (agreeing, weight) = (agreeing + weights[k] * updates[k], weight + weights[k]);
        }

        return weight == 0 ? 0 : agreeing / weight;
    }
}
