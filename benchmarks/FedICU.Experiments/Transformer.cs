using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using Parameter = TorchSharp.Modules.Parameter;

namespace FedICU.Experiments;

/// <summary>A small GPT: pre-normalised blocks of causal attention and a GELU layer, tied embeddings, no biases.</summary>
internal sealed class Transformer
{
    public const int Width = 128, Layers = 4, Heads = 4, Hidden = 512, Context = 128;

    private const double Scale = Adapter.Alpha / (double)Adapter.Rank;

    public Transformer(Dictionary<string, Tensor> weights) => Weights = weights;

    /// <summary>Names and weights, matrices as outputs x inputs.</summary>
    public Dictionary<string, Tensor> Weights { get; }

    /// <summary>Names, outputs and inputs of the matrices that an adapter adapts.</summary>
    public static IEnumerable<(string Name, int Outputs, int Inputs)> Matrices =>
        from layer in Enumerable.Range(0, Layers)
        from matrix in ((string Name, int Outputs, int Inputs)[])[("q", Width, Width), ("k", Width, Width), ("v", Width, Width), ("o", Width, Width), ("up", Hidden, Width), ("down", Width, Hidden)]
        select ($"layers.{layer}.{matrix.Name}", matrix.Outputs, matrix.Inputs);

    public static Transformer Random(Random random)
    {
        var weights = new Dictionary<string, Tensor> { ["embedding"] = Normal(random, 0.02, BytePair.Vocabulary, Width), ["positions"] = Normal(random, 0.02, Context, Width), ["norm"] = ones(Width) };
        for (int layer = 0; layer < Layers; layer++)
            (weights[$"layers.{layer}.norm1"], weights[$"layers.{layer}.norm2"]) = (ones(Width), ones(Width));
        foreach ((string name, int outputs, int inputs) in Matrices)
            weights[name] = Normal(random, name.EndsWith(".o", StringComparison.Ordinal) || name.EndsWith(".down", StringComparison.Ordinal) ? 0.02 / Math.Sqrt(2 * Layers) : 0.02, outputs, inputs);
        return new Transformer(weights);
    }

    /// <summary>The mean negative log-likelihood, in nats, of each token but the first of each row.</summary>
    /// <param name="tokens">I64, rows x (up to <see cref="Context"/> + 1).</param>
    /// <param name="adapter">Null: the weights alone.</param>
    public Tensor Loss(Tensor tokens, Adapter? adapter)
    {
        using DisposeScope scope = NewDisposeScope();
        long rows = tokens.shape[0], length = tokens.shape[1] - 1;
        Tensor x = Weights["embedding"].index_select(0, tokens.narrow(1, 0, length).reshape(-1)).reshape(rows, length, Width) + Weights["positions"].narrow(0, 0, length);
        for (int layer = 0; layer < Layers; layer++)
        {
            string at = $"layers.{layer}";
            Tensor h = Norm(x, $"{at}.norm1");
            Tensor attended = functional.scaled_dot_product_attention(PerHead("q"), PerHead("k"), PerHead("v"), is_casual: true);
            x = x + Apply(attended.transpose(1, 2).reshape(rows, length, Width), $"{at}.o", adapter);
            x = x + Apply(functional.gelu(Apply(Norm(x, $"{at}.norm2"), $"{at}.up", adapter)), $"{at}.down", adapter);

            Tensor PerHead(string name) => Apply(h, $"{at}.{name}", adapter).reshape(rows, length, Heads, Width / Heads).transpose(1, 2);
        }

        Tensor logits = functional.linear(Norm(x, "norm"), Weights["embedding"]);
        return functional.cross_entropy(logits.reshape(-1, BytePair.Vocabulary), tokens.narrow(1, 1, length).reshape(-1)).MoveToOuterDisposeScope();
    }

    private Tensor Norm(Tensor x, string name) => functional.layer_norm(x, [Width], Weights[name], null);

    private Tensor Apply(Tensor x, string name, Adapter? adapter)
    {
        Tensor y = functional.linear(x, Weights[name]);
        return adapter is null ? y : y + functional.linear(functional.linear(x, adapter.Factors[Adapter.A(name)]), adapter.Factors[Adapter.B(name)]) * Scale;
    }

    /// <summary>All F32 tensors of a file.</summary>
    public static Dictionary<string, Tensor> ReadAll(string path)
    {
        using TensorSource source = TensorSource.Open(path);
        return source.Tensors.Where(info => info.DType == DType.F32).ToDictionary(info => info.Name, info =>
        {
            Tensor values = empty(info.Shape.Dimensions, float32);
            source.Read(info, 0, values.bytes);
            return values;
        });
    }

    public static Tensor Normal(Random random, double deviation, params long[] shape)
    {
        float[] values = new float[shape.Aggregate(1L, (product, length) => product * length)];
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)(deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        return tensor(values, shape);
    }
}

/// <summary>LoRA factors of all of a transformer's matrices: rank x inputs and outputs x rank, the second zero at first.</summary>
internal sealed class Adapter(Dictionary<string, Tensor> factors) : IDisposable
{
    public const int Rank = 8, Alpha = 16;

    public Dictionary<string, Tensor> Factors { get; } = factors;

    public static string A(string matrix) => matrix + ".lora_A.weight";

    public static string B(string matrix) => matrix + ".lora_B.weight";

    public static Adapter Random(Random random)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach ((string name, int outputs, int inputs) in Transformer.Matrices)
            (factors[A(name)], factors[B(name)]) = (Transformer.Normal(random, 1 / Math.Sqrt(inputs), Rank, inputs), zeros(outputs, Rank));
        return new Adapter(factors);
    }

    /// <summary>A copy in memory of its own, which training changes.</summary>
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
