namespace FederatedLanguages;

/// <summary>
/// A byte-level language model. The vectors of the last <see cref="Context"/> bytes are concatenated and pass through
/// two hidden layers, which predict the next byte. The model is small enough to train in seconds, and large enough that
/// languages matter.
/// </summary>
internal sealed class LanguageModel
{
    /// <summary>The number of bytes that the model sees; chosen.</summary>
    public const int Context = 16;

    /// <summary>The length of a byte's vector; chosen.</summary>
    public const int Embedding = 16;

    /// <summary>The width of a hidden layer; chosen.</summary>
    public const int Hidden = 256;

    /// <summary>The number of byte values.</summary>
    public const int Vocabulary = 256;

    /// <summary>The matrices that LoRA adapts: d_out x d_in, as in PyTorch and PEFT.</summary>
    public static readonly (string Name, int Out, int In)[] Layers =
        [("hidden1", Hidden, Context * Embedding), ("hidden2", Hidden, Hidden), ("output", Vocabulary, Hidden)];

    public LanguageModel(Random random)
        : this(
            Matrix.Random(Vocabulary, Embedding, 1, random),
            [.. Layers.Select(layer => Matrix.Random(layer.Out, layer.In, Math.Sqrt(3.0 / layer.In), random))])
    {
    }

    /// <summary>Creates a model of zeros, to be filled.</summary>
    public LanguageModel()
        : this(new Matrix(Vocabulary, Embedding), [.. Layers.Select(layer => new Matrix(layer.Out, layer.In))])
    {
    }

    private LanguageModel(Matrix embeddings, Matrix[] weights) => (Embeddings, Weights) = (embeddings, weights);

    /// <summary>A vector for each byte.</summary>
    public Matrix Embeddings { get; }

    /// <summary>One matrix for each of <see cref="Layers"/>.</summary>
    public Matrix[] Weights { get; }

    /// <summary>Lists all matrices with their names in files.</summary>
    public IEnumerable<(string Name, Matrix Values)> Parameters() =>
        [("embedding.weight", Embeddings), .. Layers.Select((layer, i) => (layer.Name + ".weight", Weights[i]))];
}
