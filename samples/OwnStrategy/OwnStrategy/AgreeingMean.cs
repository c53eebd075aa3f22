using FedICU;

namespace OwnStrategy;

/// <summary>
/// A merge: each element moves by the mean of those updates that have the sign of the weighted sum. Where the clients
/// that agree have at most a share <c>agreement</c> of the weights, the element stays as it is.
/// </summary>
public sealed class AgreeingMean : MergeRule
{
    private readonly double _agreement;

    public AgreeingMean(double agreement)
    {
        if (agreement is not (>= 0 and < 1))
            throw new InvalidOptionsException([$"agreement is {agreement}; a number of at least 0 and below 1 was expected."]);
        _agreement = agreement;
    }

    public override string Name => "agreeing-mean";

    public override void Merge(TensorContext tensor)
    {
        double[] weights = [.. tensor.Clients.Select(client => client.MergeWeight)];
        double least = _agreement * weights.Sum();
        tensor.ForEachElement(UpdateForm.Delta, updates =>
        {
            double direction = 0, agreed = 0, weight = 0;
            for (int k = 0; k < updates.Length; k++)
                direction += weights[k] * updates[k];
            for (int k = 0; k < updates.Length; k++)
            {
                if (direction > 0 ? updates[k] > 0 : updates[k] < 0)
                    (agreed, weight) = (agreed + weights[k] * updates[k], weight + weights[k]);
            }

            return weight > least ? agreed / weight : 0;
        });
    }
}
