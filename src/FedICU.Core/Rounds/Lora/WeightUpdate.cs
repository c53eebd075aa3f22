using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>Writes W + L R for a base weight W, in its type: the only place where a product is added densely.</summary>
internal static unsafe class WeightUpdate
{
    // elements of W that a thread holds in float64 at a time: chosen, with the rounded block they fit the second-level
    // cache
    private const int BlockElements = 1 << 16;

    /// <summary>Writes the updated weight.</summary>
    /// <param name="model">The base model.</param>
    /// <param name="weight">W in it, as a matrix of its first dimension's rows.</param>
    /// <param name="output">Receives the weight.</param>
    /// <param name="written">The tensor in the output.</param>
    /// <param name="left">L: a row of count values for each row of W.</param>
    /// <param name="right">R: count rows of W's length.</param>
    /// <param name="count">The inner dimension.</param>
    /// <param name="workers">The threads.</param>
    public static void Write(
        TensorSource model, TensorInfo weight, TensorSink output, TensorInfo written, double* left, double* right, int count,
        Workers workers)
    {
        (long rows, long columns) = weight.Shape.AsMatrix();
        int blockRows = (int)Math.Clamp(BlockElements / Math.Max(columns, 1), 1, Math.Max(rows, 1));
        int blocks = checked((int)((rows + blockRows - 1) / blockRows));
        using var reader = new DensePanelReader(model, weight);
        int inputSize = weight.DType.BitSize / 8, outputSize = written.DType.BitSize / 8;
        workers.Run(blocks, parallel: true, (block, scratch) =>
        {
            long first = (long)block * blockRows;
            int own = (int)Math.Min(blockRows, rows - first), elements = checked((int)(own * columns));
            double* wide = (double*)scratch.Take((long)elements * sizeof(double));
            var values = new TensorPanel(wide, DType.F64);
            long nonFinite = TensorPasses.Cpu.WeightedSum([reader.Read(first * columns, elements, scratch)], [1], 1, elements, values);
            double* of = left + first * count;
            RowKernels.AddProduct((i, j) => of[(long)i * count + j], own, right, count, columns, wide, workers.CancellationToken);
            var rounded = new TensorPanel(scratch.Take((long)elements * outputSize), written.DType);
            if (nonFinite > 0 || TensorPasses.Cpu.WeightedSum([values], [1], 1, elements, rounded) > 0)
            {
                throw RoundCheck.CreateRefusal(nonFinite > 0
                    ? $"The base model's tensor {Sentence.Quote(weight.Name)} has NaN or infinite values; finite values were expected."
                    : $"Tensor {Sentence.Quote(written.Name)} would not fit {written.DType.SafetensorsName} with the adapter; " +
                        "smaller values were expected.");
            }

            output.Write(written, first * columns * outputSize, new ReadOnlySpan<byte>(rounded.Data, elements * outputSize));
        });
    }

    /// <summary>Copies a tensor, in another float type if the output has one.</summary>
    public static void Copy(TensorSource from, TensorInfo tensor, TensorSink output, TensorInfo written, Workers workers)
    {
        if (written.DType == tensor.DType)
        {
            from.CopyTo(output, tensor, written, workers.CancellationToken);
            return;
        }

        using var reader = new DensePanelReader(from, tensor);
        int size = written.DType.BitSize / 8;
        int blocks = checked((int)((tensor.ElementCount + BlockElements - 1) / BlockElements));
        workers.Run(blocks, parallel: true, (block, scratch) =>
        {
            long start = (long)block * BlockElements;
            int count = (int)Math.Min(BlockElements, tensor.ElementCount - start);
            var rounded = new TensorPanel(scratch.Take((long)count * size), written.DType);
            if (TensorPasses.Cpu.WeightedSum([reader.Read(start, count, scratch)], [1], 1, count, rounded) > 0)
            {
                throw RoundCheck.CreateRefusal(
                    $"{Sentence.Quote(tensor.Name)} of {Sentence.Quote(from.Location)} has values that are not finite or do not fit " +
                    $"{written.DType.SafetensorsName}; finite values were expected.");
            }

            output.Write(written, start * size, new ReadOnlySpan<byte>(rounded.Data, count * size));
        });
    }
}
