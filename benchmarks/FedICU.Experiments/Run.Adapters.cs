using System.Collections.Concurrent;
using FedICU.TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

internal sealed partial class Run
{
    // the library names a matrix's adapter after the weight without this ending
    private const string Weight = ".weight";

    /// <summary>Gets the rank of the server's adapter: the largest of the clients'.</summary>
    private int GlobalRank => method.Rank ?? _clients.Max(client => client.Rank);

    private bool FreezesA => method.Strategy == "ffa-lora";

    private string NextBaseFile => Path.Combine(_scratch.FullName, "next-base.safetensors");

    /// <summary>
    /// Returns the adapter that a client receives. Where ranks differ, all adapters are cut, also those of the largest
    /// rank: the rows of all clients then are the same singular vectors, in the same order.
    /// </summary>
    private Adapter Receive(int k, TensorSource global, ConcurrentBag<IDisposable> held)
    {
        if (method.Rank is not null || _clients.All(client => client.Rank == GlobalRank))
            return _adapters[0];
        Adapter received = Server.Cut(global, _clients[k].Rank);
        held.Add(received);
        return received;
    }

    /// <summary>
    /// Gives the base what the strategy means for it, and returns the adapter that starts the next round.
    /// </summary>
    private Adapter MoveToBase(Adapter result, int round)
    {
        if (method.Strategy == "fedex-lora")
            SetBase(Transformer.ReadAll(NextBaseFile));
        if (method.Strategy != "flora")
            return result;
        using (result)
        using (var weights = new StateDictModel(NamedWeights()))
        using (var stacked = new StateDictModel(result.Factors))
        {
            var fused = new StateDictSink([]);
            AdapterFusion.Fuse(
                weights.Model, stacked.Model, fused, new FusionOptions { LoraScaling = Adapter.Scaling }, cancellationToken);
            SetBase(fused.StateDict);
        }

        return CreateStart(round, GlobalRank);
    }

    /// <summary>Saves the base for the library, and returns its path.</summary>
    private string SaveBase()
    {
        string path = Path.Combine(_scratch.FullName, "base.safetensors");
        using var weights = new StateDictModel(NamedWeights());
        weights.Model.SaveTo(TensorSink.ToFile(path), cancellationToken);
        return path;
    }

    private Dictionary<string, Tensor> NamedWeights() => Model.Weights.ToDictionary(pair => pair.Key + Weight, pair => pair.Value);

    /// <summary>Replaces the base of this run alone; null for the base of all methods.</summary>
    private void SetBase(Dictionary<string, Tensor>? weights)
    {
        foreach (Tensor weight in _ownBase?.Weights.Values.AsEnumerable() ?? [])
            weight.Dispose();
        _ownBase = weights is null ? null : new Transformer(weights.ToDictionary(pair => pair.Key[..^Weight.Length], pair => pair.Value));
    }
}
