using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using FedICU.Compute;
using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>
/// Runs one round from the check to the committed model, tensor by tensor in the global model's order. If values are
/// not finite, it applies the policy and starts the round over without what was dropped.
/// </summary>
internal sealed class RoundExecution(
    TensorAggregator strategy, AggregationRound round, TensorSink output, CancellationToken cancellationToken)
{
    // the most values, of all clients together, of a tensor that one thread computes alone: chosen, it would not keep
    // several busy
    private const long SmallTensorValues = 1 << 23;

    private readonly RoundOptions _options = round.Options;
    private readonly RoundWork _work = new(round.Options.Backend ?? new SimdBackend());
    private readonly IReadOnlyList<TensorInfo> _outputs = round.Options.OutputDType is null
        ? round.Global.Tensors : [.. round.Global.Tensors.Select(tensor => GetOutput(tensor, round.Options))];

    public AggregationResult Run() => FedIcuTelemetry.Observe(strategy.Name, round.Updates.Count, round.Global.Tensors.Count, Execute);

    private AggregationResult Execute()
    {
        var check = new RoundCheck(round, output, cancellationToken);
        try
        {
            check.Run();
            LoraPairs pairs = _options.BalanceLora || _options.Statistics
                ? LoraPairs.Find(round.Global, check.AdapterConfig, cancellationToken) : LoraPairs.None;
            if (pairs.DescribeOthers() is { } others)
                check.Notes.Add(others);
            using var workers = new Workers(_options.Threads, cancellationToken);
            while (true)
            {
                int notes = check.Notes.Count;
                try
                {
                    if (TryAggregate(check, pairs, workers) is { } result)
                        return result;
                }
                catch (RoundRejectedException e) when (check.TryDrop(e))
                {
                    // the round starts over without the client
                }

                check.Notes.RemoveRange(notes, check.Notes.Count - notes);
                check.CloseDropped();
                check.CheckQuorum();
            }
        }
        finally
        {
            check.Participants.ForEach(participant => participant.Dispose());
        }
    }

    /// <summary>Computes and publishes the model.</summary>
    /// <returns>The result; null if the round must start over without what a policy dropped.</returns>
    private AggregationResult? TryAggregate(RoundCheck check, LoraPairs pairs, Workers workers)
    {
        Dictionary<string, string> dropped = check.CollectDroppedTensors();
        BalancedSink? balanced = _options.BalanceLora ? new BalancedSink(output, [.. pairs.All.Where(IsBalanced)]) : null;
        TensorSink sink = balanced ?? output;
        RoundState state = Begin(check, workers, sink, dropped);
        using ReadAhead? ahead = state.ReadAhead;
        sink.Begin(_outputs, CreateMetadata());
        try
        {
            RoundReport report = Compute(check, state, pairs);
            if (balanced is not null)
                NoteUnbalanced(check, pairs, IsBalanced, balanced.Balance(workers, _work.Backend));
            if (!check.CheckFilesUnchanged())
            {
                sink.Abort();
                return null;
            }

            sink.Commit();
            return new AggregationResult(report with { BackendShares = _work.Shares, Notes = [.. check.Notes.Select(Sentence.Fit)] });
        }
        catch (NonFiniteOutputException e)
        {
            sink.Abort();
            Explain(e, check, state);
            return null;
        }
        catch
        {
            sink.Abort();
            throw;
        }

        // a tensor that keeps the global model's value keeps its bits
        bool IsBalanced(LoraPair pair) =>
            pair.Rank <= PairBalance.MaximumRank && !dropped.ContainsKey(pair.A.Name) && !dropped.ContainsKey(pair.B.Name);
    }

    private static void NoteUnbalanced(
        RoundCheck check, LoraPairs pairs, Func<LoraPair, bool> isBalanced, ILookup<string, LoraPair> unbalanced)
    {
        if (LoraPairs.Describe(pairs.All.Where(pair => pair.Rank > PairBalance.MaximumRank)) is { } ranks)
            check.Notes.Add($"The factors of {ranks} were not balanced: their rank is above {PairBalance.MaximumRank}.");
        if (LoraPairs.Describe(pairs.All.Where(pair => pair.Rank <= PairBalance.MaximumRank && !isBalanced(pair))) is { } kept)
            check.Notes.Add($"The factors of {kept} were not balanced: at least one of the two keeps the global model's value.");
        foreach (IGrouping<string, LoraPair> same in unbalanced)
            check.Notes.Add($"The factors of {LoraPairs.Describe(same)} were not balanced: {same.Key}.");
    }

    private RoundState Begin(RoundCheck check, Workers workers, TensorSink sink, IReadOnlyDictionary<string, string> dropped)
    {
        List<Participant> included = [.. check.Included];
        double total = included.Sum(participant => participant.Weight);
        bool largerThanMemory = included.Sum(participant => participant.BytesInFiles) > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        RoundClient[] clients =
            [.. included.Select(participant => new RoundClient(participant.Id, participant.Weight, participant.Weight / total))];
        return new RoundState(round.Global, included, clients, _work.Backend, workers, sink)
        {
            Work = _work,
            Strategy = strategy.Name,
            Dropped = dropped,
            LargerThanMemory = largerThanMemory,
            ReadAhead = largerThanMemory ? new ReadAhead(round.Global, [.. included.Select(participant => participant.Source)]) : null,
        };
    }

    private RoundReport Compute(RoundCheck check, RoundState state, LoraPairs pairs)
    {
        IReadOnlyList<TensorInfo> aggregated = round.Global.Tensors;
        if (aggregated.Any(tensor => !IsAggregated(tensor)))
            aggregated = [.. aggregated.Where(IsAggregated)];
        ITensorRule rule = strategy.BeginRound(new ModelContext(
            state.Clients, aggregated, bytes => CreateMeter("prepare", bytes),
            (tensor, progress) => new OpenTensorContext(state, tensor, GetOutput(tensor, _options), progress)));
        TensorReports tensors = AggregateAll(check, state, rule);
        IReadOnlyList<LoraPairReport> pairReports = _options.Statistics
            ? LoraCrossTerms.Compute(state, pairs.All.Where(pair => IsAggregated(pair.A) && IsAggregated(pair.B)), check.Notes) : [];
        return new RoundReport
        {
            Strategy = strategy.Name,
            Backend = _work.Backend.Name,
            Round = _options.Round,
            Clients = DescribeClients(check, state),
            Tensors = tensors,
            LoraPairs = pairReports,
            Notes = check.Notes,
        };

        bool IsAggregated(TensorInfo tensor) => tensor.DType.IsComputed && !state.Dropped.ContainsKey(tensor.Name);
    }

    /// <summary>
    /// Aggregates large tensors one after the other on all threads, and small ones that follow each other in parallel,
    /// each on one thread.
    /// </summary>
    private TensorReports AggregateAll(RoundCheck check, RoundState state, ITensorRule rule)
    {
        IReadOnlyList<TensorInfo> tensors = round.Global.Tensors;
        var reports = new TensorReports(strategy.Name, state.Clients, _outputs);
        // a context is reused for one tensor after the other, so that its readers and groupings are not allocated again
        var idle = new ConcurrentBag<OpenTensorContext>();
        OpenTensorContext? onAllThreads = null;
        ProgressMeter? meter = CreateMeter("aggregate", round.Global.TotalBytes);
        try
        {
            TensorBatches.Run(
                state.Workers, tensors.Count, i => tensors[i].ElementCount * state.Clients.Count,
                rule.IsThreadSafe ? SmallTensorValues : null, AggregateOnOneThread, i => AggregateOne(i, ref onAllThreads, state));
        }
        finally
        {
            foreach (OpenTensorContext context in idle)
                context.Workers.Dispose();
        }

        return reports;

        void AggregateOnOneThread(int i)
        {
            idle.TryTake(out OpenTensorContext? context);
            try
            {
                AggregateOne(i, ref context, context is null ? state.OnOneThread() : state);
            }
            finally
            {
                if (context is not null)
                    idle.Add(context);
            }
        }

        void AggregateOne(int i, [NotNull] ref OpenTensorContext? context, RoundState newContextState)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ProgressMeter.TensorProgress? progress = meter?.Begin(tensors[i]);
            if (context is null)
                context = new OpenTensorContext(newContextState, tensors[i], _outputs[i], progress, i);
            else
                context.Open(tensors[i], _outputs[i], progress, i);
            using (context)
                Aggregate(check, state, rule, context, reports, i);
            progress?.End();
        }
    }

    private void Aggregate(
        RoundCheck check, RoundState state, ITensorRule rule, OpenTensorContext context, TensorReports reports, int number)
    {
        TensorInfo tensor = context.Info;
        if (state.Dropped.TryGetValue(tensor.Name, out string? reason))
        {
            context.KeepGlobal();
            reports.Set(number, "kept", reason, DescribeDropped(check, state, tensor));
        }
        else if (tensor.DType.IsComputed)
        {
            UpdateStatistics? statistics = _options.Statistics ? context.Measure() : null;
            rule.Aggregate(context);
            context.RequireWritten();
            reports.Set(number, context.Reported(), statistics, state.ComputeSharesSent(tensor));
        }
        else if (tensor.DType.IsInteger && _options.Integers == IntegerRule.Mean)
        {
            context.WriteIntegerMean();
            reports.Set(number, "integer mean", null,
                [.. state.Clients.Select(client => new TensorClientReport { Id = client.Id, Weight = client.Share })]);
        }
        else
        {
            context.KeepGlobal();
            reports.Set(number, "kept", $"{tensor.DType.SafetensorsName} tensors keep the global model's value.", []);
        }
    }

    private static TensorClientReport[] DescribeDropped(RoundCheck check, RoundState state, TensorInfo tensor) =>
    [
        .. state.Participants.Select(participant => new TensorClientReport
        {
            Id = participant.Id,
            ShareSent = participant.Find(tensor.Name) is null ? 0 : participant.ComputeShareSent(tensor),
            NonFinite = check.NonFinite.GetValueOrDefault((participant.Id, tensor.Name)),
        }),
    ];

    /// <summary>Finds the clients whose values are not finite and applies the policy to them.</summary>
    /// <exception cref="RoundRejectedException">The policy rejects the round, or no client is the cause.</exception>
    private void Explain(NonFiniteOutputException failure, RoundCheck check, RoundState state)
    {
        // the failure may hold the output's tensor, whose type can differ from the global model's
        TensorInfo failed = round.Global.Find(failure.Tensor.Name)!;
        // all tensors are searched, so that the round starts over only once; a tensor's weights may also depend on
        // another tensor's values
        int faults = FindNonFinite(failed, check, state, failed: true);
        foreach (TensorInfo tensor in round.Global.Tensors.Where(tensor => tensor.DType.IsComputed && tensor != failed))
            faults += FindNonFinite(tensor, check, state, failed: false);
        if (faults == 0 && !FindTooLarge(failed, check, state) && !DropLargest(failure, failed, check, state))
        {
            string name = failure.Tensor.Name;
            throw new RoundRejectedException(RoundFault.NonFinite, $"Tensor {Sentence.Quote(name)}: {failure.Message}", tensor: name);
        }
    }

    /// <summary>Applies the policy to clients whose values of a tensor are not finite.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="check">The round's check.</param>
    /// <param name="state">The round's state.</param>
    /// <param name="failed">
    /// Whether the output of this tensor failed. Only then may the global model be the cause: values of its other
    /// tensors may not have been used at all.
    /// </param>
    /// <returns>The number of such clients.</returns>
    private int FindNonFinite(TensorInfo tensor, RoundCheck check, RoundState state, bool failed)
    {
        if (state.Dropped.ContainsKey(tensor.Name))
            return 0;
        using var context = new OpenTensorContext(state, tensor, GetOutput(tensor, _options));
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        int faults = 0;
        long? inGlobal = null;
        for (int k = 0; k < inputs.Length; k++)
        {
            Participant participant = state.Participants[k];
            if (context.CountNonFinite(inputs[k]) is not (var count and > 0))
                continue;
            // a delta or sparse update is completed with values of the global model, which may be the cause
            if (participant.Kind != UpdateKind.Full && (inGlobal ??= context.CountNonFinite(context.Global)) > 0)
            {
                if (failed)
                    break;
                continue;
            }

            check.NonFinite[(participant.Id, tensor.Name)] = count;
            // the sum of a finite delta and the global model may overflow float64
            bool isSum = participant.Kind == UpdateKind.Delta &&
                context.CountNonFinite(context.Inputs(UpdateForm.Delta, withGlobal: false)[k]) == 0;
            string found = isSum ? "is a delta that, added to the global model, has" : "has";
            check.ApplyPolicy(_options.OnNonFinite, RoundFault.NonFinite, participant, tensor.Name,
                $"{participant.NameWithFile}: tensor {Sentence.Quote(tensor.Name)} {found} {Sentence.NonFinite(count)}; " +
                "finite values were expected.");
            faults++;
        }

        if (failed && (faults == 0 || inGlobal > 0) && (inGlobal ?? context.CountNonFinite(context.Global)) is var own and > 0)
        {
            string location = round.Global.IsInMemory ? "" : $" in {Sentence.Quote(round.Global.Location)}";
            throw new RoundRejectedException(
                RoundFault.NonFinite,
                $"The global model's tensor {Sentence.Quote(tensor.Name)}{location} has {Sentence.NonFinite(own)}; " +
                "finite values were expected.",
                tensor: tensor.Name);
        }

        return faults;
    }

    /// <summary>
    /// Applies the policy to clients whose finite values do not fit the output's type, as values of a wider type may
    /// not: one such client must not end every round.
    /// </summary>
    /// <returns>Whether there is such a client.</returns>
    private bool FindTooLarge(TensorInfo tensor, RoundCheck check, RoundState state)
    {
        if (state.OnDevice || state.Dropped.ContainsKey(tensor.Name))
            return false;
        using var context = new OpenTensorContext(state, tensor, GetOutput(tensor, _options));
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        bool found = false;
        for (int k = 0; k < inputs.Length; k++)
        {
            if (context.CountTooLarge(inputs[k]) is not (var count and > 0))
                continue;
            Participant participant = state.Participants[k];
            check.ApplyPolicy(_options.OnNonFinite, RoundFault.NonFinite, participant, tensor.Name,
                $"{participant.NameWithFile}: tensor {Sentence.Quote(tensor.Name)} has {Sentence.Count(count, "value")} too large for " +
                $"{context.Output.DType.SafetensorsName}; values that fit the output's type were expected.");
            found = true;
        }

        return found;
    }

    /// <summary>
    /// Applies the policy to the client with the largest values, for a result that does not fit although all values do.
    /// No value is wrong then, but one client must not end every round by values at the type's limit.
    /// </summary>
    /// <returns>False if the policy is to reject the round.</returns>
    private bool DropLargest(NonFiniteOutputException failure, TensorInfo tensor, RoundCheck check, RoundState state)
    {
        if (_options.OnNonFinite == FaultPolicy.Reject || state.Dropped.ContainsKey(tensor.Name))
            return false;
        using var context = new OpenTensorContext(state, tensor, GetOutput(tensor, _options));
        double[] norms = context.Measure().Norms;
        Participant largest = state.Participants[Array.IndexOf(norms, norms.Max())];
        check.ApplyPolicy(_options.OnNonFinite, RoundFault.NonFinite, largest, tensor.Name,
            $"{largest.NameWithFile}: tensor {Sentence.Quote(tensor.Name)} has the largest values, and {failure.Message}");
        return true;
    }

    private ProgressMeter? CreateMeter(string phase, long bytes) =>
        _options.Progress is { } progress ? new ProgressMeter(progress, phase, bytes) : null;

    private static ClientReport[] DescribeClients(RoundCheck check, RoundState state)
    {
        Dictionary<string, double> shares = state.Clients.ToDictionary(client => client.Id, client => client.Share, StringComparer.Ordinal);
        ILookup<string, long> nonFinite =
            check.NonFinite.ToLookup(counted => counted.Key.Client, counted => counted.Value, StringComparer.Ordinal);
        return
        [
            .. check.Participants.Select(participant =>
                Describe(participant, shares.GetValueOrDefault(participant.Id), nonFinite[participant.Id].Sum())),
        ];
    }

    private static ClientReport Describe(Participant participant, double share, long nonFinite) => new()
    {
        Id = participant.Id,
        Weight = participant.Weight,
        Share = share,
        Included = participant.Exclusion is null,
        Reason = participant.Exclusion,
        Kind = participant.IsOpen ? participant.Kind.Text() : "unknown",
        BytesSent = participant.BytesSent,
        BytesFull = participant.BytesFull,
        NonFinite = nonFinite,
    };

    private static TensorInfo GetOutput(TensorInfo tensor, RoundOptions options) =>
        tensor.DType.IsComputed && options.OutputDType is { } dtype && dtype != tensor.DType ? tensor with { DType = dtype } : tensor;

    /// <summary>
    /// Creates the output's metadata: the global model's without the keys of an update, and the round's number.
    /// </summary>
    private Dictionary<string, string> CreateMetadata()
    {
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in round.Global.Metadata)
        {
            bool isOfUpdate = key is MetadataKeys.Update or MetadataKeys.Base or MetadataKeys.Examples or MetadataKeys.Round ||
                key.StartsWith(MetadataKeys.ShapePrefix, StringComparison.Ordinal);
            if (!isOfUpdate)
                metadata[key] = value;
        }

        if (_options.Round is { } number)
            metadata[MetadataKeys.Round] = number.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return metadata;
    }
}
