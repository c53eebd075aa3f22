using System.Runtime.InteropServices;
using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace FedICU.Experiments;

/// <summary>Trains and measures models. Clients and texts run in parallel, each on one thread.</summary>
internal static class Training
{
    // windows that are measured at once; chosen
    private const int EvaluationRows = 32;

    // the largest learning rate of the base's training; chosen
    private const double PretrainingRate = 2e-3;

    /// <summary>Trains an adapter in place: AdamW without decay, gradients clipped to a norm of 1.</summary>
    /// <param name="model">The frozen model.</param>
    /// <param name="adapter">The adapter, from <see cref="Adapter.Trainable"/>.</param>
    /// <param name="texts">The tokens of each of the client's domains.</param>
    /// <param name="mixture">The probability of each domain for a row.</param>
    /// <param name="steps">The number of steps.</param>
    /// <param name="options">The rows of a step and the learning rate.</param>
    /// <param name="random">Draws the rows.</param>
    /// <param name="threads">The number of threads for each operation.</param>
    /// <param name="term">What is added to the gradients; null for nothing.</param>
    /// <param name="cancellationToken">Checked at each step.</param>
    public static void Run(
        Transformer model, Adapter adapter, IReadOnlyList<int[]> texts, IReadOnlyList<double> mixture, int steps,
        ExperimentOptions options, Random random, int threads, GradientTerm? term, CancellationToken cancellationToken)
    {
        set_num_threads(threads);
        // a frozen factor is no parameter
        Parameter[] factors = [.. adapter.Factors.Values.OfType<Parameter>()];
        using var optimizer = new AdamW(factors, decay: 0);
        for (int step = 0; step < steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            optimizer.ClearGradients();
            model.Loss(Rows(texts, mixture, options.Rows, random), adapter).backward();
            foreach ((string name, Tensor factor) in adapter.Factors)
                term?.Invoke(name, factor, GradientOf(name, factor));
            nn.utils.clip_grad_norm_(factors, 1);
            optimizer.Step(options.LearningRate);
        }
    }

    /// <summary>
    /// Trains all weights of a model in place. The learning rate rises over the first tenth of the steps and falls to a
    /// tenth along a cosine.
    /// </summary>
    public static void Pretrain(
        Transformer model, int[] text, int steps, int rows, Random random, Action<int, double> progress,
        CancellationToken cancellationToken)
    {
        set_num_threads(Environment.ProcessorCount);
        foreach (string name in model.Weights.Keys.ToArray())
            model.Weights[name] = new Parameter(model.Weights[name]);
        Parameter[] weights = [.. model.Weights.Values.Cast<Parameter>()];
        using var optimizer = new AdamW(weights, decay: 0.01, beta2: 0.98);
        for (int step = 0; step < steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            double at = (step + 1) / (double)steps;
            using DisposeScope scope = NewDisposeScope();
            optimizer.ClearGradients();
            Tensor loss = model.Loss(Rows([text], [1], rows, random), null);
            loss.backward();
            nn.utils.clip_grad_norm_(weights, 1);
            optimizer.Step(PretrainingRate * Math.Min(1, 10 * at) * (0.55 + 0.45 * Math.Cos(Math.PI * at)));
            progress(step + 1, loss.item<float>() / Math.Log(2));
        }

        foreach (string name in model.Weights.Keys.ToArray())
            model.Weights[name] = model.Weights[name].detach();
    }

    /// <summary>
    /// Measures the bits per byte of a text, in windows of <see cref="Transformer.Context"/> tokens that are spread
    /// evenly over it.
    /// </summary>
    public static double BitsPerByte(
        Transformer model, Adapter? adapter, int[] text, BytePair encoding, int most, CancellationToken cancellationToken)
    {
        set_num_threads(1);
        using IDisposable noGradients = no_grad();
        int windows = Math.Min(most, (text.Length - 1) / Transformer.Context);
        double nats = 0, bytes = 0;
        for (int first = 0; first < windows; first += EvaluationRows)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            int rows = Math.Min(EvaluationRows, windows - first);
            long[] tokens = new long[rows * (Transformer.Context + 1)];
            for (int row = 0; row < rows; row++)
            {
                int start = windows == 1 ? 0 : (int)((long)(first + row) * (text.Length - 1 - Transformer.Context) / (windows - 1));
                for (int i = 0; i <= Transformer.Context; i++)
                {
                    int token = text[start + i];
                    tokens[row * (Transformer.Context + 1) + i] = token;
                    bytes += i > 0 ? encoding.BytesOf(token) : 0;
                }
            }

            nats += model.Loss(tensor(tokens, rows, Transformer.Context + 1), adapter).item<float>() * (double)rows * Transformer.Context;
        }

        return nats / Math.Log(2) / bytes;
    }

    /// <summary>Computes the loss, in nats a token, and its gradient, as means over batches of a client.</summary>
    public static (double Loss, Adapter Gradient) GradientAt(
        Transformer model, Adapter at, ExperimentClient client, int batches, ExperimentOptions options, Random random,
        CancellationToken cancellationToken)
    {
        set_num_threads(1);
        using Adapter trainable = at.Trainable();
        double sum = 0;
        for (int batch = 0; batch < batches; batch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            Tensor loss = model.Loss(Rows(client.Texts, client.Mixture, options.Rows, random), trainable);
            loss.backward();
            sum += loss.item<float>();
        }

        return (sum / batches, new Adapter(trainable.Factors.ToDictionary(pair => pair.Key, pair =>
        {
            using Tensor gradient = GradientOf(pair.Key, pair.Value);
            Tensor mean = gradient.clone();
            TensorPrimitives.Divide(Floats(mean), batches, Floats(mean));
            return mean;
        })));
    }

    /// <summary>Returns the values of a contiguous F32 tensor.</summary>
    public static Span<float> Floats(Tensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.bytes);

    private static Tensor GradientOf(string name, Tensor factor) =>
        factor.grad ?? throw new InvalidOperationException($"'{name}' has no gradient.");

    private static Tensor Rows(IReadOnlyList<int[]> texts, IReadOnlyList<double> mixture, int rows, Random random)
    {
        long[] tokens = new long[rows * (Transformer.Context + 1)];
        for (int row = 0; row < rows; row++)
        {
            double drawn = random.NextDouble();
            int domain = 0;
            while (domain < texts.Count - 1 && (drawn -= mixture[domain]) >= 0)
                domain++;
            int start = random.Next(texts[domain].Length - Transformer.Context - 1);
            for (int i = 0; i <= Transformer.Context; i++)
                tokens[row * (Transformer.Context + 1) + i] = texts[domain][start + i];
        }

        return tensor(tokens, rows, Transformer.Context + 1);
    }
}
