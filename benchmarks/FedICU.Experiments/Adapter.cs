using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace FedICU.Experiments;

/// <summary>
/// The LoRA factors of all of a transformer's matrices: A of rank x inputs and B of outputs x rank. B starts with
/// zeros.
/// </summary>
internal sealed class Adapter(Dictionary<string, Tensor> factors) : IDisposable
{
    /// <summary>The rank; chosen.</summary>
    public const int Rank = 8;

    /// <summary>The numerator of the scaling; chosen: twice the rank, as is usual.</summary>
    public const int Alpha = 16;

    public Dictionary<string, Tensor> Factors { get; } = factors;

    public static string A(string matrix) => matrix + ".lora_A.weight";

    public static string B(string matrix) => matrix + ".lora_B.weight";

    public static Adapter Random(Random random)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, int outputs, int inputs) in Transformer.Matrices)
        {
            factors[A(name)] = Transformer.Normal(random, 1 / Math.Sqrt(inputs), Rank, inputs);
            factors[B(name)] = zeros(outputs, Rank);
        }

        return new Adapter(factors);
    }

    /// <summary>Creates a copy that training can change.</summary>
    public Adapter Trainable() => new(Factors.ToDictionary(pair => pair.Key, pair => (Tensor)new Parameter(Copy(pair.Value))));

    public Adapter Clone() => new(Factors.ToDictionary(pair => pair.Key, pair => Copy(pair.Value)));

    public bool IsFinite
    {
        get
        {
            using DisposeScope scope = NewDisposeScope();
            return Factors.Values.All(factor => factor.isfinite().all().item<bool>());
        }
    }

    public void Save(string path)
    {
        using var held = new StateDictModel(Factors);
        held.Model.SaveTo(TensorSink.ToFile(path));
    }

    public static Adapter Load(string path) => new(Transformer.ReadAll(path));

    public void Dispose()
    {
        foreach (Tensor factor in Factors.Values)
            factor.Dispose();
    }

    private static Tensor Copy(Tensor tensor)
    {
        using Tensor detached = tensor.detach();
        return detached.clone();
    }
}
