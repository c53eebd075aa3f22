using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Rounds.Lora;
using FedICU.Rounds.State;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>
/// Runs a round on this machine: large tensors one after the other on all threads, small ones that follow each other
/// side by side, each on one thread.
/// </summary>
internal sealed class LocalRunner(
    StageSequence stages, RoundRun run, RoundOptions options, RoundCheck check, LoraPairs pairs, PairRunner? pairRunner,
    PairRound? pairRound) : IRoundRunner
{
    // the most values, of all clients together, of a tensor that one thread computes alone: chosen, it would not keep
    // several busy
    private const long SmallTensorValues = 1 << 23;

    private ProgressMeter? _preparation;

    /// <summary>The run with the clients that the weightings have left so far.</summary>
    public RoundRun Current { get; private set; } = run;

    private CancellationToken CancellationToken => Current.Settings.Workers.CancellationToken;

    public Task<double[]> SurveyAsync(RoundPlan plan, RoundStatistic statistic, bool transformed)
    {
        RoundRun run = Narrow(plan);
        if (statistic is PairStatistic ofPairs)
            return Task.FromResult(MeasurePairs(run, ofPairs));
        TensorInfo[] tensors = [.. plan.Tensors.Where(statistic.Measures)];
        var sums = new OrderedSums(statistic.Count(plan.Clients.Count));
        // one phase for all statistics of the round
        ProgressMeter? meter = _preparation ??= CreateMeter(
            "prepare", plan.Tensors.Where(statistic.Measures).Sum(tensor => tensor.ByteLength) * CountStatistics(plan.Clients.Count));
        ForEachTensor(run, tensors.Length, i => tensors[i].ElementCount * run.Clients.Count, sideBySide: true, Measure);
        if (!Array.TrueForAll(sums.Sums, double.IsFinite))
        {
            throw RoundCheck.CreateRefusal(
                $"The statistic {Sentence.Quote(statistic.Name)} of the whole model is too large for F64; smaller values were expected.");
        }

        return Task.FromResult(sums.Sums);

        void Measure(int i, ref OpenTensorContext? context, RoundRun own)
        {
            ProgressMeter.TensorProgress? progress = meter?.Begin(tensors[i]);
            Open(ref context, own, tensors[i], tensors[i], progress, int.MaxValue);
            using (context)
            {
                if (transformed)
                    context.Prepare(stages.Transforms);
                double[] part = sums.Rent();
                statistic.Measure(context, part);
                if (!Array.TrueForAll(part, double.IsFinite))
                {
                    throw new NonFiniteOutputException(
                        context.Info,
                        $"its norms or inner products (the statistic {Sentence.Quote(statistic.Name)}) are not finite, " +
                        "from finite inputs: they are too large.");
                }

                sums.Add(i, part);
            }

            progress?.End();
        }
    }

    public Task<IReadOnlyList<TensorReport>> RunAsync(
        RoundPlan plan, IReadOnlyList<TensorInfo> outputs, TensorSink output, StateRun state)
    {
        RoundRun run = Narrow(plan);
        bool writesOnDevice = RoundRun.IsOnDevice(run.Settings.Backend, output.Device);
        run = run with { Settings = run.Settings with { Output = output, WritesOnDevice = writesOnDevice } };
        Current = run;
        IReadOnlyList<TensorInfo> tensors = run.Global.Tensors;
        // without steps of pairs, each tensor is a unit
        List<RoundUnit>? units = pairRound is not null
            ? RoundUnit.List(tensors, pairRound.Merged.Select(i => pairRound.All[i]), withAlphas: true)
            : stages.PairSteps.Count == 0 ? null : RoundUnit.List(tensors, FindPairUnits(run));
        Dictionary<LoraPair, int> numberOf = new(ReferenceEqualityComparer.Instance);
        for (int i = 0; i < pairRound?.All.Count; i++)
            numberOf[pairRound.All[i]] = i;
        var reports = new TensorReports(stages.Name, run.Clients, outputs);
        var unbalanced = pairRunner?.Unbalanced ?? new ConcurrentDictionary<LoraPair, string>(ReferenceEqualityComparer.Instance);
        ProgressMeter? meter = CreateMeter("aggregate", run.Global.TotalBytes);
        ForEachTensor(
            run, units?.Count ?? tensors.Count, CountValuesOfUnit,
            stages.Merge.IsThreadSafe, (int i, ref OpenTensorContext? context, RoundRun own) =>
            {
                if (units?[i].Pair is { } merged && pairRunner is not null)
                    RunMergedPair(units[i], merged, own);
                else if (units?[i].Pair is { } pair)
                    RunPair(units[i], pair, own);
                else
                    RunTensor(units?[i].Tensors[0] ?? i, ref context, own);
            });
        NoteUnbalanced(run, unbalanced);
        return Task.FromResult<IReadOnlyList<TensorReport>>(reports);

        long CountValuesOfUnit(int i) =>
            (units?[i].Tensors.Sum(tensor => tensors[tensor].ElementCount) ?? tensors[i].ElementCount) * run.Clients.Count;

        void RunTensor(int i, ref OpenTensorContext? context, RoundRun own)
        {
            ProgressMeter.TensorProgress? progress = meter?.Begin(tensors[i]);
            Open(ref context, own, tensors[i], outputs[i], progress, i);
            using (context)
                Aggregate(context, own, state, reports, i);
            progress?.End();
        }

        void RunMergedPair(RoundUnit unit, LoraPair pair, RoundRun own)
        {
            ProgressMeter.TensorProgress?[] progress = [.. unit.Tensors.Select(tensor => meter?.Begin(tensors[tensor]))];
            int a = FindTensor(unit, pair.A.Name), b = FindTensor(unit, pair.B.Name);
            TensorInfo? alpha = pair.Alpha is null ? null : outputs[FindTensor(unit, pair.Alpha.Name)];
            pairRunner.Run(own, numberOf[pair], (outputs[a], outputs[b], alpha), (context, statistics) =>
                reports.Set(context.Info.Name == pair.A.Name ? a : b, context.Reported(), statistics, own.ComputeSharesSent(context.Info)));
            if (alpha is not null)
                reports.Set(FindTensor(unit, alpha.Name), "alpha", null, []);
            foreach (ProgressMeter.TensorProgress? one in progress)
                one?.End();
        }

        int FindTensor(RoundUnit unit, string name) => unit.Tensors.First(tensor => tensors[tensor].Name == name);

        void RunPair(RoundUnit unit, LoraPair pair, RoundRun own)
        {
            using var buffer = new PairBuffer();
            (TensorInfo a, TensorInfo b) = (outputs[unit.Tensors[0]], outputs[unit.Tensors[1]]);
            if (a.Name != pair.A.Name)
                (a, b) = (b, a);
            buffer.Begin([a, b], run.Global.Metadata);
            RoundRun intoBuffer = own with { Settings = own.Settings with { Output = buffer, WritesOnDevice = false } };
            foreach (int tensor in unit.Tensors)
            {
                OpenTensorContext? context = null;
                RunTensor(tensor, ref context, intoBuffer);
            }

            Workers workers = own.Settings.Workers;
            workers.Run(1, parallel: false, (_, scratch) =>
            {
                foreach (PairStep step in stages.PairSteps)
                {
                    string? reason = step.Apply(
                        pair with { A = a, B = b }, buffer.GetPanel(a), buffer.GetPanel(b), own.Settings.Backend, scratch,
                        CancellationToken);
                    if (reason is not null)
                        unbalanced[pair] = reason;
                }
            });
            buffer.CopyTo(output, a, CancellationToken);
            buffer.CopyTo(output, b, CancellationToken);
        }
    }

    private double[] MeasurePairs(RoundRun run, PairStatistic statistic)
    {
        var sums = new OrderedSums(statistic.Count(run.Clients.Count));
        int[] merged = pairRound!.Merged;
        ForEachTensor(
            run, merged.Length, i => CountValues(pairRound.All[merged[i]]) * run.Clients.Count, sideBySide: true,
            (int i, ref OpenTensorContext? _, RoundRun own) =>
            {
                double[] part = sums.Rent();
                pairRunner!.Measure(own, merged[i], statistic, part);
                sums.Add(i, part);
            });
        return sums.Sums;
    }

    private static long CountValues(LoraPair pair) => pair.A.ElementCount + pair.B.ElementCount;

    private delegate void TensorStep(int number, ref OpenTensorContext? context, RoundRun run);

    /// <summary>
    /// Runs a step for each tensor. Contexts are used again, so that readers are not allocated again.
    /// </summary>
    private static void ForEachTensor(RoundRun run, int count, Func<int, long> valuesOf, bool sideBySide, TensorStep step)
    {
        var idle = new ConcurrentBag<(OpenTensorContext? Context, RoundRun Run)>();
        OpenTensorContext? onAllThreads = null;
        try
        {
            TensorBatches.Run(
                run.Settings.Workers, count, valuesOf, sideBySide ? SmallTensorValues : null, OnOneThread,
                i => step(i, ref onAllThreads, run));
        }
        finally
        {
            foreach ((_, RoundRun own) in idle)
                own.Settings.Workers.Dispose();
        }

        void OnOneThread(int i)
        {
            if (!idle.TryTake(out (OpenTensorContext? Context, RoundRun Run) own))
                own = (null, run.OnOneThread());
            try
            {
                step(i, ref own.Context, own.Run);
            }
            finally
            {
                idle.Add(own);
            }
        }
    }

    private static void Open(
        [NotNull] ref OpenTensorContext? context, RoundRun run, TensorInfo info, TensorInfo output, IPassProgress? progress, int number)
    {
        run.Settings.Workers.CancellationToken.ThrowIfCancellationRequested();
        if (context is null)
            context = new OpenTensorContext(run, info, output, progress, number);
        else
            context.Open(info, output, progress, number);
    }

    private void Aggregate(OpenTensorContext context, RoundRun run, StateRun state, TensorReports reports, int number)
    {
        TensorInfo tensor = context.Info;
        if (run.Dropped.TryGetValue(tensor.Name, out string? reason))
        {
            context.KeepGlobal();
            if (tensor.DType.IsComputed)
                state.Carry(tensor, CancellationToken);
            reports.Set(number, "kept", reason, DescribeDropped(run, tensor));
        }
        else if (tensor.DType.IsComputed)
        {
            UpdateStatistics? statistics = options.Statistics ? UpdateStatistics.Measure(context) : null;
            context.Prepare(stages.Transforms);
            using StepFinish? finish = state.Begin(context);
            context.Passes.Finish = finish;
            stages.Merge.Merge(context);
            context.Passes.RequireWritten();
            reports.Set(number, context.Reported(), statistics, run.ComputeSharesSent(tensor));
        }
        else if (tensor.DType.IsInteger && options.Integers == IntegerRule.Mean && !stages.All.Any(stage => stage.KeepsIntegers))
        {
            context.WriteIntegerMean();
            reports.Set(number, "integer mean", null,
                [.. run.Clients.Select(client => new TensorClientReport { Id = client.Id, Weight = client.Share })]);
        }
        else
        {
            context.KeepGlobal();
            reports.Set(number, "kept", $"{tensor.DType.SafetensorsName} tensors keep the global model's value.", []);
        }
    }

    private TensorClientReport[] DescribeDropped(RoundRun run, TensorInfo tensor) =>
    [
        .. run.Participants.Select(participant => new TensorClientReport
        {
            Id = participant.Id,
            ShareSent = participant.Find(tensor.Name) is null ? 0 : participant.ComputeShareSent(tensor),
            NonFinite = check.NonFinite.GetValueOrDefault((participant.Id, tensor.Name)),
        }),
    ];

    /// <summary>
    /// Returns the pairs that stages rewrite. A tensor that keeps the global model's value keeps its bits.
    /// </summary>
    private IEnumerable<LoraPair> FindPairUnits(RoundRun run) =>
        pairs.All.Where(pair =>
            !IsKept(run, pair) && stages.PairSteps.Any(step => step.DescribeObstacle(pair) is null));

    private static bool IsKept(RoundRun run, LoraPair pair) =>
        run.Dropped.ContainsKey(pair.A.Name) || run.Dropped.ContainsKey(pair.B.Name);

    private void NoteUnbalanced(RoundRun run, IReadOnlyDictionary<LoraPair, string> unbalanced)
    {
        if (stages.PairSteps.Count == 0)
            return;
        // a merge of pairs may write other ranks, and notes their obstacles itself
        Func<LoraPair, string?> obstacleOf = pairRound is null ? stages.PairSteps[0].DescribeObstacle : _ => null;
        Note(pairs.All.Where(pair => obstacleOf(pair) is not null), pair => obstacleOf(pair)!);
        Note(pairs.All.Where(pair => obstacleOf(pair) is null && IsKept(run, pair)),
            _ => "at least one of the two keeps the global model's value");
        Note(pairs.All.Where(unbalanced.ContainsKey), pair => unbalanced[pair]);

        void Note(IEnumerable<LoraPair> left, Func<LoraPair, string> reasonOf)
        {
            foreach (IGrouping<string, LoraPair> same in left.GroupBy(reasonOf))
                check.Notes.Add($"The factors of {LoraPairs.Describe(same)} were not balanced: {same.Key}.");
        }
    }

    private int CountStatistics(int clients) => stages.All.SelectMany(stage => stage.Statistics)
        .Concat(pairRunner is null && UpdateSimilarities.AreReported(options, clients) ? UpdateSimilarities.Statistics : [])
        .SelectMany(statistic => statistic.WithThoseBefore()).DistinctBy(statistic => statistic.Name).Count();

    private RoundRun Narrow(RoundPlan plan) => Current = ReferenceEquals(Current.Clients, plan.Clients) ? Current : Current.Narrow();

    private ProgressMeter? CreateMeter(string phase, long bytes) =>
        options.Progress is { } progress ? new ProgressMeter(progress, phase, bytes) : null;
}
