using System.Collections.Concurrent;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Rounds.Checks;
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

    /// <summary>The pairs that a step left as they were, with the reasons.</summary>
    public ConcurrentDictionary<LoraPair, string> Unbalanced { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>What the rule did to each pair, in the model's order.</summary>
    public IReadOnlyList<(LoraPair Pair, LoraPairReport Report)> Reports =>
        [.. pairs.All.Zip(_reports, (pair, report) => (pair, report!)).Where(pair => pair.Item2 is not null)];

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
        if (run.Plan.HasFactors && context.Forms.Index().FirstOrDefault(form => form.Item.Rank != pair.Rank) is { Item.Rank: > 0 } other)
        {
            throw PairCheck.CreateRankRefusal(
                stages.Weightings[^1], pairs.Merge, run.Participants[other.Index], pair, other.Item.Rank);
        }

        pairs.Merge.Merge(context);
        LoraPair written = pair with { A = outputs.A, B = outputs.B, Scaling = context.Written.Scaling };
        foreach (PairStep step in stages.PairSteps)
        {
            using var own = new Scratch();
            string? reason = step.DescribeObstacle(written) ??
                step.Apply(written, a, b, context.Backend, own, run.Settings.Workers.CancellationToken);
            if (reason is not null)
                Unbalanced[pair] = reason;
        }

        TensorSink sink = run.Settings.Output;
        buffer.CopyTo(sink, outputs.A, run.Settings.Workers.CancellationToken);
        buffer.CopyTo(sink, outputs.B, run.Settings.Workers.CancellationToken);
        if (outputs.Alpha is { } alpha)
            LoraAlphas.Write(sink, alpha, context.Written.Alpha);
        bool hasEqualRanks = context.Forms.All(form => form.Rank == pair.Rank);
        foreach (OpenTensorContext tensor in (OpenTensorContext[])[context.Tensors.A, context.Tensors.B])
            report(tensor, options.Statistics && hasEqualRanks ? UpdateStatistics.Measure(tensor) : null);
        _reports[number] = PairFigures.Describe(context, a, b, options.Statistics);
    });

    private static void WithScratch(RoundRun run, Action<Scratch> work) =>
        run.Settings.Workers.Run(1, parallel: false, (_, scratch) => work(scratch));

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
