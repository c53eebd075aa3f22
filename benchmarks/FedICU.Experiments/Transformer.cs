using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using Parameter = TorchSharp.Modules.Parameter;

namespace FedICU.Experiments;

/// <summary>
/// A small GPT: pre-normalised blocks of causal attention and a GELU layer, tied embeddings, no biases.
/// </summary>
internal sealed class Transformer
{
    /// <summary>
    /// The length of a token's vector; chosen, as all sizes here, so that the experiments run on a CPU.
    /// </summary>
    public const int Width = 128;

    /// <summary>The number of blocks.</summary>
    public const int Layers = 4;

    /// <summary>The number of attention heads.</summary>
    public const int Heads = 4;

    /// <summary>The width of a block's GELU layer.</summary>
    public const int Hidden = 512;

    /// <summary>The number of tokens that the model sees.</summary>
    public const int Context = 128;

    // the standard deviation of initial weights; GPT-2's value
    private const double InitialDeviation = 0.02;

    // TorchSharp's operators make a new scalar for each sum, and free it as soon as it is collected, even while native
    // code reads it; scalars of static fields are never collected
    private static readonly Scalar One = 1, Scale = Adapter.Scaling;

    public Transformer(Dictionary<string, Tensor> weights) => Weights = weights;

    /// <summary>The weights by name. Matrices are outputs x inputs.</summary>
    public Dictionary<string, Tensor> Weights { get; }

    /// <summary>Lists the names, outputs and inputs of the matrices that an adapter adapts.</summary>
    public static IEnumerable<(string Name, int Outputs, int Inputs)> Matrices
    {
        get
        {
            (string Name, int Outputs, int Inputs)[] matrices =
            [
                ("q", Width, Width), ("k", Width, Width), ("v", Width, Width), ("o", Width, Width), ("up", Hidden, Width),
                ("down", Width, Hidden),
            ];
            return from layer in Enumerable.Range(0, Layers)
                   from matrix in matrices
                   select ($"layers.{layer}.{matrix.Name}", matrix.Outputs, matrix.Inputs);
        }
    }

    public static Transformer Random(Random random)
    {
        var weights = new Dictionary<string, Tensor>
        {
            ["embedding"] = Normal(random, InitialDeviation, BytePair.Vocabulary, Width),
            ["positions"] = Normal(random, InitialDeviation, Context, Width),
            ["norm"] = ones(Width),
        };
        for (int layer = 0; layer < Layers; layer++)
            (weights[$"layers.{layer}.norm1"], weights[$"layers.{layer}.norm2"]) = (ones(Width), ones(Width));
        foreach ((string name, int outputs, int inputs) in Matrices)
        {
            bool endsBlock = name.EndsWith(".o", StringComparison.Ordinal) || name.EndsWith(".down", StringComparison.Ordinal);
            weights[name] = Normal(random, endsBlock ? InitialDeviation / Math.Sqrt(2 * Layers) : InitialDeviation, outputs, inputs);
        }

        return new Transformer(weights);
    }

    /// <summary>Computes the mean negative log-likelihood, in nats, of each token but the first of each row.</summary>
    /// <param name="tokens">I64, rows x (up to <see cref="Context"/> + 1).</param>
    /// <param name="adapter">The adapter, or null for the weights alone.</param>
    public Tensor Loss(Tensor tokens, Adapter? adapter)
    {
        using DisposeScope scope = NewDisposeScope();
        long rows = tokens.shape[0], length = tokens.shape[1] - 1;
        Tensor embedded = Weights["embedding"].index_select(0, tokens.narrow(1, 0, length).reshape(-1)).reshape(rows, length, Width);
        Tensor x = embedded.add(Weights["positions"].narrow(0, 0, length), One);
        for (int layer = 0; layer < Layers; layer++)
        {
            string at = $"layers.{layer}";
            Tensor h = Norm(x, $"{at}.norm1");
            Tensor attended = functional.scaled_dot_product_attention(PerHead("q"), PerHead("k"), PerHead("v"), is_casual: true);
            x = x.add(Apply(attended.transpose(1, 2).reshape(rows, length, Width), $"{at}.o", adapter), One);
            x = x.add(Apply(functional.gelu(Apply(Norm(x, $"{at}.norm2"), $"{at}.up", adapter)), $"{at}.down", adapter), One);

            Tensor PerHead(string name) =>
                Apply(h, $"{at}.{name}", adapter).reshape(rows, length, Heads, Width / Heads).transpose(1, 2);
        }

        Tensor logits = functional.linear(Norm(x, "norm"), Weights["embedding"]);
        Tensor targets = tokens.narrow(1, 1, length).reshape(-1);
        return functional.cross_entropy(logits.reshape(-1, BytePair.Vocabulary), targets).MoveToOuterDisposeScope();
    }

    private Tensor Norm(Tensor x, string name) => functional.layer_norm(x, [Width], Weights[name], null);

    private Tensor Apply(Tensor x, string name, Adapter? adapter)
    {
        Tensor y = functional.linear(x, Weights[name]);
        if (adapter is null)
            return y;
        Tensor low = functional.linear(x, adapter.Factors[Adapter.A(name)]);
        return y.add(functional.linear(low, adapter.Factors[Adapter.B(name)]).mul(Scale), One);
    }

    /// <summary>Reads all F32 tensors of a file.</summary>
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
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            values[i] = (float)(deviation * radius * Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        return tensor(values, shape);
    }
}
