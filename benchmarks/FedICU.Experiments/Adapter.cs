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
    /// <summary>The rank, unless a scenario or a method has another; chosen.</summary>
    public const int DefaultRank = 8;

    /// <summary>The scaling at every rank; chosen: alpha is twice the rank, as is usual.</summary>
    public const double Scaling = 2;

    private const string SuffixOfA = ".lora_A.weight";

    public Dictionary<string, Tensor> Factors { get; } = factors;

    /// <summary>Gets the rank, which all matrices share.</summary>
    public int Rank => (int)Factors[A(Transformer.Matrices.First().Name)].shape[0];

    public static string A(string matrix) => matrix + SuffixOfA;

    public static string B(string matrix) => matrix + ".lora_B.weight";

    /// <summary>Creates an adapter that changes nothing yet.</summary>
    /// <param name="random">Draws the rows of A.</param>
    /// <param name="drawn">
    /// The number of rows that are drawn, so that adapters of smaller ranks begin with the same rows.
    /// </param>
    /// <param name="rank">The number of rows that are kept, from the first.</param>
    public static Adapter Random(Random random, int drawn, int rank)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, int outputs, int inputs) in Transformer.Matrices)
        {
            using Tensor rows = Transformer.Normal(random, 1 / Math.Sqrt(inputs), drawn, inputs);
            using Tensor kept = rows.narrow(0, 0, rank);
            factors[A(name)] = Copy(kept);
            factors[B(name)] = zeros(outputs, rank);
        }

        return new Adapter(factors);
    }

    /// <summary>Creates a copy that training can change.</summary>
    /// <param name="freezesA">Whether A is not trained.</param>
    public Adapter Trainable(bool freezesA = false) => new(Factors.ToDictionary(pair => pair.Key, pair =>
        freezesA && pair.Key.EndsWith(SuffixOfA, StringComparison.Ordinal) ? Copy(pair.Value) : new Parameter(Copy(pair.Value))));

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
