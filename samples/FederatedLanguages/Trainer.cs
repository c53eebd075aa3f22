using System.Numerics.Tensors;

namespace FederatedLanguages;

/// <summary>Trains on batches of random positions in a text, and measures the loss of a text.</summary>
internal static class Trainer
{
    // positions of a batch; chosen
    private const int Batch = 128;

    // Adam's learning rate for adapters; chosen
    private const double AdapterRate = 1e-3;

    // Adam's first learning rate for the base; chosen
    private const double BaseRate = 2e-3;

    /// <summary>Trains an adapter in place on a client's text.</summary>
    /// <param name="model">The base model.</param>
    /// <param name="adapter">The adapter.</param>
    /// <param name="text">The text.</param>
    /// <param name="steps">The number of steps.</param>
    /// <param name="random">Chooses the positions.</param>
    /// <param name="tick">Is called after each step.</param>
    /// <param name="term">Is added to the gradients; null: nothing.</param>
    /// <param name="targets">The byte to predict at each position of the text; null: the text itself.</param>
    /// <returns>The mean loss of the first batch before any step, in nats.</returns>
    public static double TrainAdapter(
        LanguageModel model, Adapter adapter, byte[] text, int steps, Random random, Action tick, GradientTerm? term = null,
        byte[]? targets = null)
    {
        var pass = new Pass(model, adapter, Batch);
        Matrix[] received = [.. pass.Parameters.Select(parameter => parameter.Copy())];
        Adam[] optimizers = [.. pass.Parameters.Select(parameter => new Adam(parameter))];
        int[] positions = new int[Batch];
        double first = 0;
        for (int step = 0; step < steps; step++)
        {
            Draw(positions, text, random);
            double loss = pass.Forward(text, positions, targets) / Batch;
            if (step == 0)
                first = loss;
            pass.Backward(text, positions, targets);
            for (int i = 0; i < optimizers.Length; i++)
            {
                term?.Invoke(pass.Parameters[i].Data, received[i].Data, pass.Gradients[i].Data);
                optimizers[i].Step(pass.Gradients[i], AdapterRate);
            }

            tick();
        }

        return first;
    }

    /// <summary>
    /// Trains the base in place. Two half batches run in parallel, and their gradients are added in a fixed order.
    /// </summary>
    public static void TrainBase(LanguageModel model, byte[] text, int steps, Random random, Action tick)
    {
        Pass[] halves = [new(model, null, Batch), new(model, null, Batch)];
        int[][] positions = [new int[Batch], new int[Batch]];
        Adam[] optimizers = [.. halves[0].Parameters.Select(parameter => new Adam(parameter))];
        for (int step = 0; step < steps; step++)
        {
            foreach (int[] half in positions)
                Draw(half, text, random);
            Parallel.For(0, 2, half =>
            {
                halves[half].Forward(text, positions[half]);
                halves[half].Backward(text, positions[half]);
            });
            // the rate falls along half a cosine, so that the weights settle in the last steps
            double rate = BaseRate * 0.5 * (1 + Math.Cos(Math.PI * step / steps));
            for (int i = 0; i < optimizers.Length; i++)
            {
                float[] sum = halves[0].Gradients[i].Data;
                TensorPrimitives.Add(sum, halves[1].Gradients[i].Data, sum);
                optimizers[i].Step(halves[0].Gradients[i], rate);
            }

            tick();
        }
    }

    /// <summary>
    /// Measures the mean loss of a text in bits per byte. Bytes that do not fill the last batch are left out.
    /// </summary>
    public static double BitsPerByte(LanguageModel model, Adapter? adapter, byte[] text)
    {
        var pass = new Pass(model, adapter, Batch);
        int[] positions = new int[Batch];
        double loss = 0;
        int batches = (text.Length - LanguageModel.Context) / Batch;
        for (int batch = 0; batch < batches; batch++)
        {
            for (int i = 0; i < Batch; i++)
                positions[i] = LanguageModel.Context + batch * Batch + i;
            loss += pass.Forward(text, positions);
        }

        return loss / Math.Log(2) / ((double)batches * Batch);
    }

    private static void Draw(int[] positions, byte[] text, Random random)
    {
        foreach (ref int position in positions.AsSpan())
            position = random.Next(LanguageModel.Context, text.Length);
    }
}
