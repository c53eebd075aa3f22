using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Rounds;
using FedICU.Rounds.Checks;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Writes a base model with a LoRA adapter in its weights: W + s B A, computed in float64 and rounded once to W's type.
/// Tensors pass through in blocks, so that memory does not grow with the model.
/// </summary>
public static unsafe class AdapterFusion
{
    /// <summary>Writes the fused model. Everything is checked before anything is written.</summary>
    /// <param name="baseModel">The base model; borrowed.</param>
    /// <param name="adapter">The adapter; borrowed.</param>
    /// <param name="output">Receives the model: <c>TensorSink.To(path, baseModel)</c> for the same layout.</param>
    /// <param name="options">The options; null for the defaults.</param>
    /// <param name="cancellationToken">Ends the work; nothing is then written.</param>
    /// <exception cref="FedIcuException">
    /// The adapter does not fit the base model, is not plain LoRA, or a value is not finite.
    /// </exception>
    public static FusionReport Fuse(
        TensorSource baseModel, TensorSource adapter, TensorSink output, FusionOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(baseModel);
        ArgumentNullException.ThrowIfNull(adapter);
        ArgumentNullException.ThrowIfNull(output);
        options ??= new FusionOptions();
        new OptionErrors().Require("scale", options.Scale, double.IsFinite(options.Scale), "a finite number")
            .RequireScaling(options.LoraScaling).Throw();
        FusionPlan plan = FusionPlan.Create(baseModel, adapter, options, cancellationToken);
        using var workers = new Workers(options.Threads, cancellationToken);
        ProgressMeter? meter = options.Progress is { } progress
            ? new ProgressMeter(progress, "fuse", plan.Outputs.Sum(tensor => tensor.ByteLength)) : null;
        output.Begin(plan.Outputs, baseModel.Metadata);
        try
        {
            foreach (TensorInfo written in plan.Outputs)
            {
                cancellationToken.ThrowIfCancellationRequested();
                ProgressMeter.TensorProgress? own = meter?.Begin(written);
                (TensorSource source, TensorInfo tensor) = plan.SourceOf(written);
                if (plan.FindPair(written) is { } fused)
                    Fuse(source, tensor, output, written, adapter, fused.Pair, fused.IsTransposed, fused.Scaling, workers);
                else
                    WeightUpdate.Copy(source, tensor, output, written, workers);
                own?.End();
            }

            baseModel.RequireUnchanged();
            adapter.RequireUnchanged();
            output.Commit();
        }
        catch
        {
            output.Abort();
            throw;
        }

        return plan.Report;
    }

    private static void Fuse(
        TensorSource source, TensorInfo weight, TensorSink output, TensorInfo written, TensorSource adapter, LoraPair pair,
        bool isTransposed, double scaling, Workers workers)
    {
        using var a = new NativeBuffer(pair.A.ElementCount * sizeof(double));
        using var b = new NativeBuffer(pair.B.ElementCount * sizeof(double));
        Read(adapter, pair.A, scaling, (double*)a.Pointer, workers);
        Read(adapter, pair.B, 1, (double*)b.Pointer, workers);
        int rank = checked((int)pair.Rank);
        if (!isTransposed)
        {
            WeightUpdate.Write(source, weight, output, written, (double*)b.Pointer, (double*)a.Pointer, rank, workers);
            return;
        }

        using var columnsOfA = new NativeBuffer(pair.A.ElementCount * sizeof(double));
        using var rowsOfB = new NativeBuffer(pair.B.ElementCount * sizeof(double));
        MatrixTranspose.Run((double*)a.Pointer, rank, pair.Inputs, (double*)columnsOfA.Pointer, workers.CancellationToken);
        MatrixTranspose.Run((double*)b.Pointer, pair.Outputs, rank, (double*)rowsOfB.Pointer, workers.CancellationToken);
        WeightUpdate.Write(source, weight, output, written, (double*)columnsOfA.Pointer, (double*)rowsOfB.Pointer, rank, workers);
    }

    private static void Read(TensorSource adapter, TensorInfo factor, double scale, double* values, Workers workers)
    {
        // elements that are read at a time: chosen
        const int Elements = 1 << 16;
        using var reader = new DensePanelReader(adapter, factor);
        int pieces = checked((int)((factor.ElementCount + Elements - 1) / Elements));
        workers.Run(pieces, parallel: true, (piece, scratch) =>
        {
            long start = (long)piece * Elements;
            int count = (int)Math.Min(Elements, factor.ElementCount - start);
            var output = new TensorPanel(values + start, DType.F64);
            TensorPanel read = reader.Read(start, count, scratch);
            if (TensorPasses.Cpu.WeightedSum([read], [scale], 1, count, output) == 0)
                return;
            bool isFinite = TensorPasses.Cpu.WeightedSum([read], [1], 1, count, output) == 0;
            throw RoundCheck.CreateRefusal(isFinite
                ? $"The adapter's tensor {Sentence.Quote(factor.Name)} is not finite with the scaling {Numbers.Invariant(scale)}; " +
                    "a smaller scale (--scale) was expected."
                : $"The adapter's tensor {Sentence.Quote(factor.Name)} has NaN or infinite values; finite values were expected.");
        });
    }
}
