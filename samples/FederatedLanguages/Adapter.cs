namespace FederatedLanguages;

/// <summary>
/// The LoRA factors of every layer: W + alpha/r B A, with A: r x d_in and B: d_out x r. Clients train and send only
/// these factors.
/// </summary>
internal sealed class Adapter
{
    /// <summary>The rank r; chosen, and the smallest multiple of eight (see <see cref="Matrix"/>).</summary>
    public const int Rank = 8;

    /// <summary>The numerator alpha of the scaling; chosen: twice the rank, as is usual.</summary>
    public const int Alpha = 16;

    /// <summary>The scaling alpha/r.</summary>
    public const float Scale = (float)Alpha / Rank;

    private Adapter(Matrix[] a, Matrix[] b) => (A, B) = (a, b);

    /// <summary>Creates factors of zeros, to be filled.</summary>
    public Adapter()
        : this(
            [.. LanguageModel.Layers.Select(layer => new Matrix(Rank, layer.In))],
            [.. LanguageModel.Layers.Select(layer => new Matrix(layer.Out, Rank))])
    {
    }

    /// <summary>Creates a random A and a B of zeros, so that the adapted model starts as the base.</summary>
    public Adapter(Random random)
        : this() => A = [.. LanguageModel.Layers.Select(layer => Matrix.Random(Rank, layer.In, Math.Sqrt(3.0 / layer.In), random))];

    public Matrix[] A { get; }

    public Matrix[] B { get; }

    /// <summary>Lists the factors with their names in PEFT's files.</summary>
    public IEnumerable<(string Name, Matrix Values)> Factors() =>
        LanguageModel.Layers.SelectMany((layer, i) => new[]
        {
            ($"base_model.model.{layer.Name}.lora_A.weight", A[i]),
            ($"base_model.model.{layer.Name}.lora_B.weight", B[i]),
        });

    public Adapter Copy() => new([.. A.Select(a => a.Copy())], [.. B.Select(b => b.Copy())]);
}
