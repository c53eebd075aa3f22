using FedICU.Compute;
using FedICU.Memory;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds;

/// <summary>Runs a merge of LoRA pairs: each pair on one thread, from its inputs to its output.</summary>
/// <param name="stages">The rule.</param>
/// <param name="pairs">The round's pairs.</param>
/// <param name="options">The round's options.</param>
internal sealed class PairRunner(StageSequence stages, PairRound pairs, RoundOptions options)
{
    private readonly LoraPairReport?[] _reports = new LoraPairReport?[pairs.All.Count];

    /// <summary>The models that are written beside the output; null if there are none.</summary>
    public PairOutputs? Outputs { get; init; }

    /// <summary>What the rule did to each pair, in the model's order.</summary>
    public IReadOnlyList<LoraPairReport> Reports => [.. _reports.OfType<LoraPairReport>()];

    /// <summary>Measures a statistic of one pair.</summary>
    public void Measure(RoundRun run, int number, PairStatistic statistic, double[] sums) => WithScratch(run, scratch =>
    {
        using PairContext context = Open(run, number, scratch, default, default);
        statistic.Measure(context, sums);
        if (!Array.TrueForAll(sums, double.IsFinite))
            throw context.TooLarge();
    });

    /// <summary>Merges one pair and writes it.</summary>
    /// <param name="run">The run, on one thread.</param>
    /// <param name="number">The pair's number.</param>
    /// <param name="outputs">The tensors of the output: A, B and, if there is one, alpha.</param>
    /// <param name="report">Receives the context of each factor and its statistics.</param>
    public void Run(
        RoundRun run, int number, (TensorInfo A, TensorInfo B, TensorInfo? Alpha) outputs,
        Action<OpenTensorContext, UpdateStatistics?> report) => WithScratch(run, scratch =>
    {
        using var buffer = new PairBuffer();
        buffer.Begin([outputs.A, outputs.B], run.Global.Metadata);
        TensorPanel a = buffer.GetPanel(outputs.A), b = buffer.GetPanel(outputs.B);
        using PairContext context = Open(run, number, scratch, a, b);
        LoraPair pair = pairs.All[number];
        if (run.Plan.HasFactors || stages.Transforms.Count > 0)
            RequireEqualRanks(context);
        pairs.Merge.Merge(context);
        LoraPair written = pair with { A = outputs.A, B = outputs.B, Scaling = context.Written.Scaling };
        foreach (PairStep step in stages.PairSteps.Where(step => step.DescribeObstacle(written) is null))
        {
            using var own = new Scratch();
            step.Apply(written, a, b, context.Backend, own, run.Settings.Workers.CancellationToken);
        }

        TensorSink sink = run.Settings.Output;
        buffer.CopyTo(sink, outputs.A, run.Settings.Workers.CancellationToken);
        buffer.CopyTo(sink, outputs.B, run.Settings.Workers.CancellationToken);
        if (outputs.Alpha is { } alpha)
            WriteAlpha(sink, alpha, context.Written.Alpha);
        bool hasEqualRanks = context.Forms.All(form => form.Rank == pair.Rank);
        foreach (OpenTensorContext tensor in (OpenTensorContext[])[context.Tensors.A, context.Tensors.B])
            report(tensor, options.Statistics && hasEqualRanks ? UpdateStatistics.Measure(tensor) : null);
        _reports[number] = PairFigures.Describe(context, a, b, options.Statistics);
    });

    private static void WithScratch(RoundRun run, Action<Scratch> work) =>
        run.Settings.Workers.Run(1, parallel: false, (_, scratch) => work(scratch));

    private static void RequireEqualRanks(PairContext context)
    {
        if (context.Forms.Any(form => form.Rank != context.Pair.Rank))
        {
            throw Checks.RoundCheck.CreateRefusal(
                "The stages before the merge change the clients' updates, which needs the global model's ranks; " +
                $"module {Text.Sentence.Quote(context.Pair.Module)} has others.");
        }
    }

    private static unsafe void WriteAlpha(TensorSink sink, TensorInfo tensor, double alpha)
    {
        byte* value = stackalloc byte[sizeof(double)];
        if (tensor.DType.IsComputed)
            Rounding.Write(value, tensor.DType, 0, alpha);
        else if (tensor.DType == DType.I64)
            *(long*)value = (long)Math.Round(alpha);
        else
            *(int*)value = (int)Math.Round(alpha);
        sink.Write(tensor, 0, new ReadOnlySpan<byte>(value, (int)tensor.ByteLength));
    }

    private PairContext Open(RoundRun run, int number, Scratch scratch, TensorPanel a, TensorPanel b) => new(
        run, pairs.All[number], [.. run.Participants.Select(participant => participant.PairForms[number])], pairs.GetWritten(number),
        stages.Transforms, scratch)
    {
        OutputA = a,
        OutputB = b,
        Outputs = Outputs,
        LoraScaling = pairs.Merge.LoraScaling,
    };
}
