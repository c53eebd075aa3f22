using System.Numerics;
using MathNet.Numerics.Statistics;

namespace FedICU.Experiments;

internal sealed partial class Run
{
    private MemorySink Mask(int k, int round, TensorSource received, TensorSource trained)
    {
        FedIcuClientOptions rule = FedIcuClientOptions.FromSettings(method.Mask!) with { Round = round };
        if (method.RandomMask)
            rule = rule with { ImportanceFunction = ShuffledImportance(RandomOf(round, FirstRandomMask + k)) };
        bool hasMomentum = rule.Momentum == Compute.MomentumRule.Ema;
        MemorySink? momentum = hasMomentum ? new MemorySink() : null;
        TensorSource? previous = hasMomentum ? _momenta.GetValueOrDefault(k)?.Model : null;
        var update = new MemorySink();
        new FedIcuClient(rule).CreateUpdate(received, trained, update, previous, momentum);
        if (momentum is not null)
        {
            _momenta.GetValueOrDefault(k)?.Dispose();
            _momenta[k] = momentum;
        }

        foreach (TensorInfo mask in update.Model.Tensors.Where(tensor => tensor.Name.EndsWith("#mask", StringComparison.Ordinal)))
        {
            byte[] bits = new byte[mask.ByteLength];
            update.Model.Read(mask, 0, bits);
            if (_masks.TryGetValue((k, mask.Name), out byte[]? before))
            {
                _chosen += bits.Sum(of => BitOperations.PopCount(of));
                _again += bits.Zip(before, (of, old) => BitOperations.PopCount((uint)(of & old))).Sum();
            }

            _masks[(k, mask.Name)] = bits;
        }

        return update;
    }

    /// <summary>
    /// Computes the z-scores of the magnitudes and shuffles them over a tensor's entries, in the same order for the
    /// update and the received model. The hard mask then sends the same number of entries, but random ones.
    /// </summary>
    private static ImportanceFunction ShuffledImportance(Random random)
    {
        // the function is called for the update first, then for the received model
        var orders = new Dictionary<string, int[]>(StringComparer.Ordinal);
        return (tensor, magnitudes, importances) =>
        {
            double[] all = magnitudes.ToArray();
            bool ofUpdate = !orders.Remove(tensor, out int[]? order);
            if (order is null)
            {
                orders[tensor] = order = [.. Enumerable.Range(0, all.Length)];
                random.Shuffle(order);
            }

            (double mean, double deviation) = ArrayStatistics.MeanStandardDeviation(all);
            // a constant update is never sent, and a constant model accepts every update that varies
            for (int i = 0; i < all.Length; i++)
                importances[i] = deviation > 0 ? (all[order[i]] - mean) / deviation : ofUpdate ? -1e9 : -1e6;
        };
    }
}
