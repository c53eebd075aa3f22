namespace FederatedLanguages;

/// <summary>
/// A byte-level language model: the last <see cref="Context"/> bytes, embedded and laid side by side, go through two hidden layers to the next byte.
/// Small enough to train in seconds, large enough that languages matter.
/// </summary>
internal sealed class LanguageModel
{
    public const int Context = 16;
    public const int Embedding = 16;
    public const int Hidden = 256;
    public const int Vocabulary = 256;

    /// <summary>The matrices that LoRA adapts: d_out x d_in, as PyTorch and PEFT have them.</summary>
    public static readonly (string Name, int Out, int In)[] Layers =
        [("hidden1", Hidden, Context * Embedding), ("hidden2", Hidden, Hidden), ("output", Vocabulary, Hidden)];

    public LanguageModel(Random random)
        : this(
            Matrix.Random(Vocabulary, Embedding, 1, random),
            [.. Layers.Select(layer => Matrix.Random(layer.Out, layer.In, Math.Sqrt(3.0 / layer.In), random))])
    {
    }

    /// <summary>All zero, to be filled.</summary>
    public LanguageModel()
        : this(new Matrix(Vocabulary, Embedding), [.. Layers.Select(layer => new Matrix(layer.Out, layer.In))])
    {
    }

    private LanguageModel(Matrix embeddings, Matrix[] weights) => (Embeddings, Weights) = (embeddings, weights);

    /// <summary>A vector for each byte.</summary>
    public Matrix Embeddings { get; }

    /// <summary>One matrix for each of <see cref="Layers"/>.</summary>
    public Matrix[] Weights { get; }

    /// <summary>All matrices by the names they have in files.</summary>
    public IEnumerable<(string Name, Matrix Values)> Parameters() =>
        [("embedding.weight", Embeddings), .. Layers.Select((layer, i) => (layer.Name + ".weight", Weights[i]))];
}
