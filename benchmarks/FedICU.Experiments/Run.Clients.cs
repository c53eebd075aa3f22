using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using FedICU.TorchSharp;
using static TorchSharp.torch;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace FedICU.Experiments;

internal sealed partial class Run
{
    // batches over which a gradient or a loss at the received model is averaged; chosen
    private const int BatchesAtReceived = 5;

    // added to a client's number for the random numbers of these batches
    private const int FirstBatchAtReceived = 2000;

    /// <summary>Trains a client, with what the method adds to its gradients.</summary>
    private Adapter TrainClient(int k, Adapter received, int round)
    {
        Adapter trained = round == 1 && method is { Mu: 0, DynamicAlpha: 0 } && !FreezesA
            ? first.Trained.GetOrAdd((k, received.Rank), _ => Train()).Clone()
            : Train();
        if (method.DynamicAlpha > 0)
            Memorize(k, (name, memory) => AddDifference(memory, Floats(trained.Factors[name]), Floats(received.Factors[name])));
        return trained;

        Adapter Train() =>
            this.Train(received, _clients[k], _clients[k].Steps, RandomOf(round, k), threads: 1, CreateTerm(k, received));
    }

    /// <summary>
    /// States what the server's strategy needs: the steps, the received model's loss, and the change of the client's
    /// control variate, which is its gradient at the received model (option I of Scaffold's paper).
    /// </summary>
    private ClientStatements CreateStatements(int k, Adapter received, int round, ConcurrentBag<IDisposable> held)
    {
        ExperimentClient client = _clients[k];
        var statements = new ClientStatements { LocalSteps = client.Steps };
        if (method.Strategy is not ("scaffold" or "qfedavg"))
            return statements;
        (double loss, Adapter gradient) = Training.GradientAt(
            Model, received, client, BatchesAtReceived, options, RandomOf(round, FirstBatchAtReceived + k), cancellationToken);
        held.Add(gradient);
        if (method.Strategy == "qfedavg")
            return statements with { Loss = loss };
        Adapter change = gradient.Clone();
        Memorize(k, (name, control) =>
        {
            TensorPrimitives.Subtract(Floats(change.Factors[name]), control, Floats(change.Factors[name]));
            Floats(gradient.Factors[name]).CopyTo(control);
        });
        held.Add(change);
        var sent = new StateDictModel(change.Factors);
        held.Add(sent);
        return statements with { ControlTensors = sent.Model };
    }

    /// <summary>Creates what the method adds to a client's gradients; null for nothing.</summary>
    private GradientTerm? CreateTerm(int k, Adapter received)
    {
        Adapter? memory;
        lock (_memories)
            memory = _memories.GetValueOrDefault(k);
        double strength = Math.Max(method.Mu, method.DynamicAlpha);
        if (strength > 0)
        {
            var term = new ProximalTerm(strength);
            // FedDyn's term alpha (sum of the client's updates + w - x) is FedProx's around x less that sum
            Dictionary<string, float[]> around = received.Factors.ToDictionary(pair => pair.Key, pair => Floats(pair.Value).ToArray());
            foreach ((string name, Tensor sum) in memory?.Factors ?? [])
                TensorPrimitives.Subtract(around[name], Floats(sum), around[name]);
            return (name, factor, gradient) => term.AddGradient<float>(Floats(factor), around[name], Floats(gradient));
        }

        if (method.Strategy != "scaffold" || memory is null)
            return null;
        using TensorSource state = TensorSource.Open(StateFile);
        Dictionary<string, float[]> corrections = memory.Factors.ToDictionary(pair => pair.Key, pair =>
        {
            float[] correction = new float[pair.Value.numel()];
            state.Read(state.Tensors.First(tensor => tensor.Name == $"{pair.Key}#c"), 0, MemoryMarshal.AsBytes(correction.AsSpan()));
            TensorPrimitives.Subtract(correction, Floats(pair.Value), correction);
            return correction;
        });
        return (name, _, gradient) => TensorPrimitives.Add(Floats(gradient), corrections[name], Floats(gradient));
    }

    /// <summary>Replaces an attacker's update y - x by a multiple of it.</summary>
    private static void Attack(Adapter received, Adapter trained)
    {
        foreach ((string name, Tensor factor) in trained.Factors)
        {
            Span<float> y = Floats(factor), x = Floats(received.Factors[name]);
            TensorPrimitives.Subtract(y, x, y);
            TensorPrimitives.MultiplyAdd(y, Scenario.AttackMultiple, x, y);
        }
    }

    /// <summary>Trains a model on the server's validation texts, saves it for FLTrust, and returns its path.</summary>
    private string TrainRoot(Adapter received, int round)
    {
        double[] mixture = [.. corpus.Validation.Select(_ => 1.0 / corpus.Validation.Count)];
        var server = new ExperimentClient("server", corpus.Validation, mixture, 1, options.Steps);
        using Adapter root = Train(received, server, server.Steps, RandomOf(round, ServerTraining), Environment.ProcessorCount, null);
        string path = Path.Combine(_scratch.FullName, "root.safetensors");
        root.Save(path);
        return path;
    }

    /// <summary>Changes a client's memory, which begins with zeros.</summary>
    private void Memorize(int k, Action<string, Span<float>> change)
    {
        Adapter? memory;
        lock (_memories)
        {
            if (!_memories.TryGetValue(k, out memory))
            {
                Dictionary<string, Tensor> factors = _adapters[0].Factors;
                _memories[k] = memory = new Adapter(factors.ToDictionary(pair => pair.Key, pair => zeros(pair.Value.shape)));
            }
        }

        foreach ((string name, Tensor factor) in memory.Factors)
            change(name, Floats(factor));
    }

    private static void AddDifference(Span<float> sum, ReadOnlySpan<float> y, ReadOnlySpan<float> x)
    {
        for (int i = 0; i < sum.Length; i++)
            sum[i] += y[i] - x[i];
    }

    private static Span<float> Floats(Tensor tensor) => Training.Floats(tensor);
}
