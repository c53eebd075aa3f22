using System.Numerics.Tensors;

namespace FederatedLanguages;

/// <summary>
/// A batch of positions through the model, forwards and backwards, with the memory it takes. With an adapter the gradients are those of its factors,
/// computed without ever forming B A; without one, those of the base.
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
        // values[i] goes into layer i, values[i + 1] comes out of it; back holds the loss's gradients by them
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

    /// <summary>What is trained: the adapter's factors in their order, or the base's matrices in theirs.</summary>
    public Matrix[] Parameters { get; }

    /// <summary>Of the batch's mean loss, for each of <see cref="Parameters"/>; from the last <see cref="Backward"/>.</summary>
    public Matrix[] Gradients { get; }

    /// <summary>The sum, in nats, of the losses of predicting text[p] from the bytes before it, for each position p.</summary>
    public double Forward(byte[] text, ReadOnlySpan<int> positions)
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
            loss += Matrix.SoftMax(_values[^1][i], text[positions[i]]);
        return loss;
    }

    /// <summary>The gradients of the batch that was last passed forward.</summary>
    public void Backward(byte[] text, ReadOnlySpan<int> positions)
    {
        TensorPrimitives.Divide(_values[^1].Data, _batch, _back[^1].Data);
        for (int i = 0; i < _batch; i++)
            _back[^1][i][text[positions[i]]] -= 1f / _batch;

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
                Gate(inputBack.Data, input.Data);
        }

        EmbeddingGradient(text, positions);
    }

    /// <summary>Nothing passes back where the rectifier gave zero.</summary>
    private static void Gate(float[] back, float[] value)
    {
        for (int i = 0; i < back.Length; i++)
            back[i] = value[i] > 0 ? back[i] : 0;
    }

    private void EmbeddingGradient(byte[] text, ReadOnlySpan<int> positions)
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
