using System.Numerics.Tensors;

namespace FederatedLanguages;

/// <summary>
/// Runs batches of positions forwards and backwards through the model, in its own buffers. With an adapter it computes
/// the gradients of the factors, without ever forming B A. Without an adapter it computes the gradients of the base.
/// </summary>
internal sealed class Pass
{
    private readonly LanguageModel _model;
    private readonly Adapter? _adapter;
    private readonly int _batch;
    private readonly Matrix[] _values, _back, _transposed, _low, _lowBack, _transposedA, _transposedB;

    public Pass(LanguageModel model, Adapter? adapter, int batch)
    {
        (_model, _adapter, _batch) = (model, adapter, batch);
        // values[i] is the input of layer i and values[i + 1] its output; back holds the loss's gradients with respect
        // to them
        int[] widths = [LanguageModel.Layers[0].In, .. LanguageModel.Layers.Select(layer => layer.Out)];
        _values = [.. widths.Select(width => new Matrix(batch, width))];
        _back = [.. widths.Select(width => new Matrix(batch, width))];
        _transposed = [.. model.Weights.Select(weights => weights.Transposed())];
        _low = [.. LanguageModel.Layers.Select(_ => new Matrix(batch, Adapter.Rank))];
        _lowBack = [.. LanguageModel.Layers.Select(_ => new Matrix(batch, Adapter.Rank))];
        _transposedA = [.. LanguageModel.Layers.Select(layer => new Matrix(layer.In, Adapter.Rank))];
        _transposedB = [.. LanguageModel.Layers.Select(layer => new Matrix(Adapter.Rank, layer.Out))];
        Parameters = [.. (adapter?.Factors() ?? model.Parameters()).Select(parameter => parameter.Values)];
        Gradients = [.. Parameters.Select(parameter => new Matrix(parameter.Rows, parameter.Columns))];
    }

    /// <summary>The trained matrices: the adapter's factors or the base's matrices, in their order.</summary>
    public Matrix[] Parameters { get; }

    /// <summary>
    /// The gradients of the batch's mean loss with respect to <see cref="Parameters"/>, from the last
    /// <see cref="Backward"/>.
    /// </summary>
    public Matrix[] Gradients { get; }

    /// <summary>
    /// Predicts targets[p] from the bytes of the text before p, for each position p, and returns the sum of the losses
    /// in nats. Without targets it predicts text[p].
    /// </summary>
    public double Forward(byte[] text, ReadOnlySpan<int> positions, byte[]? targets = null)
    {
        for (int i = 0; i < _batch; i++)
        {
            for (int c = 0; c < LanguageModel.Context; c++)
                _model.Embeddings[text[positions[i] - LanguageModel.Context + c]].CopyTo(_values[0][i][(c * LanguageModel.Embedding)..]);
        }

        int last = LanguageModel.Layers.Length - 1;
        for (int layer = 0; layer <= last; layer++)
        {
            (Matrix input, Matrix output) = (_values[layer], _values[layer + 1]);
            // y = x W^T + scale (x A^T) B^T
            if (_adapter is null)
                _model.Weights[layer].TransposeInto(_transposed[layer]);
            Matrix.Multiply(input, _transposed[layer], output);
            if (_adapter is not null)
            {
                Matrix.Multiply(input, _adapter.A[layer].TransposeInto(_transposedA[layer]), _low[layer], scale: Adapter.Scale);
                Matrix.Multiply(_low[layer], _adapter.B[layer].TransposeInto(_transposedB[layer]), output, add: true);
            }

            if (layer < last)
                TensorPrimitives.Max(output.Data, 0f, output.Data);
        }

        double loss = 0;
        for (int i = 0; i < _batch; i++)
            loss += Matrix.SoftMax(_values[^1][i], (targets ?? text)[positions[i]]);
        return loss;
    }

    /// <summary>Computes the gradients of the batch of the last <see cref="Forward"/>.</summary>
    public void Backward(byte[] text, ReadOnlySpan<int> positions, byte[]? targets = null)
    {
        TensorPrimitives.Divide(_values[^1].Data, _batch, _back[^1].Data);
        for (int i = 0; i < _batch; i++)
            _back[^1][i][(targets ?? text)[positions[i]]] -= 1f / _batch;

        for (int layer = LanguageModel.Layers.Length - 1; layer >= 0; layer--)
        {
            (Matrix input, Matrix output, Matrix inputBack) = (_values[layer], _back[layer + 1], _back[layer]);
            if (_adapter is not null)
            {
                Matrix.Multiply(output, _adapter.B[layer], _lowBack[layer], scale: Adapter.Scale);
                Matrix.Multiply(_lowBack[layer], input, Gradients[2 * layer], transposeA: true);
                Matrix.Multiply(output, _low[layer], Gradients[2 * layer + 1], transposeA: true);
                if (layer == 0)
                    return;
            }
            else
            {
                Matrix.Multiply(output, input, Gradients[layer + 1], transposeA: true);
            }

            Matrix.Multiply(output, _model.Weights[layer], inputBack);
            if (_adapter is not null)
                Matrix.Multiply(_lowBack[layer], _adapter.A[layer], inputBack, add: true);
            if (layer > 0)
                BackwardRelu(inputBack.Data, input.Data);
        }

        ComputeEmbeddingGradient(text, positions);
    }

    /// <summary>Sets the gradient to zero where the ReLU's output was zero.</summary>
    private static void BackwardRelu(float[] back, float[] value)
    {
        for (int i = 0; i < back.Length; i++)
            back[i] = value[i] > 0 ? back[i] : 0;
    }

    private void ComputeEmbeddingGradient(byte[] text, ReadOnlySpan<int> positions)
    {
        Array.Clear(Gradients[0].Data);
        for (int i = 0; i < _batch; i++)
        {
            for (int c = 0; c < LanguageModel.Context; c++)
            {
                Span<float> gradient = Gradients[0][text[positions[i] - LanguageModel.Context + c]];
                TensorPrimitives.Add(gradient, _back[0][i].Slice(c * LanguageModel.Embedding, LanguageModel.Embedding), gradient);
            }
        }
    }
}
