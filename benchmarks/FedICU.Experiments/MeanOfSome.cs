namespace FedICU.Experiments;

/// <summary>
/// Each entry's weighted mean over some of the clients: those that changed it, or those whose change has the sign of
/// the weighted sum. The received value if there are none.
/// </summary>
internal sealed class MeanOfSome(MeanOver over) : MergeRule
{
    public override string Name => "mean-of-some";

    public override void Merge(TensorContext tensor)
    {
        double[] weights = [.. tensor.Clients.Select(client => client.MergeWeight)];
        tensor.ForEachElement(UpdateForm.Delta, changes =>
        {
            double sum = 0, counted = 0, total = 0;
            for (int k = 0; k < changes.Length; k++)
                sum += changes[k] * weights[k];
            for (int k = 0; k < changes.Length; k++)
            {
                bool counts = changes[k] != 0 && (over == MeanOver.Senders || Math.Sign(changes[k]) == Math.Sign(sum));
                counted += counts ? changes[k] * weights[k] : 0;
                total += counts ? weights[k] : 0;
            }

            return total == 0 ? 0 : counted / total;
        });
    }
}
