namespace FederatedLanguages;

/// <summary>LoRA factors for every layer: W + alpha/r B A, with A: r x d_in and B: d_out x r. They are all that clients train and send.</summary>
internal sealed class Adapter
{
    public const int Rank = 8;
    public const int Alpha = 16;
    public const float Scale = (float)Alpha / Rank;

    private Adapter(Matrix[] a, Matrix[] b) => (A, B) = (a, b);

    /// <summary>All zero, to be filled.</summary>
    public Adapter()
        : this([.. LanguageModel.Layers.Select(layer => new Matrix(Rank, layer.In))], [.. LanguageModel.Layers.Select(layer => new Matrix(layer.Out, Rank))])
    {
    }

    /// <summary>A random, B zero: the adapted model begins as the base.</summary>
    public Adapter(Random random)
        : this() => A = [.. LanguageModel.Layers.Select(layer => Matrix.Random(Rank, layer.In, Math.Sqrt(3.0 / layer.In), random))];

    public Matrix[] A { get; }

    public Matrix[] B { get; }

    /// <summary>The factors by the names they have in PEFT's files.</summary>
    public IEnumerable<(string Name, Matrix Values)> Factors() =>
        LanguageModel.Layers.SelectMany((layer, i) => new[]
        {
            ($"base_model.model.{layer.Name}.lora_A.weight", A[i]),
            ($"base_model.model.{layer.Name}.lora_B.weight", B[i]),
        });

    public Adapter Copy() => new([.. A.Select(a => a.Copy())], [.. B.Select(b => b.Copy())]);
}
