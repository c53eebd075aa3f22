using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using FedICU.Compute;
using FedICU.Panels;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>
/// One round from the check to the committed model: tensor by tensor in the global model's order; where values turn out not to be finite, the
/// policy is applied and the round starts over without what was dropped.
/// </summary>
internal sealed class RoundExecution(TensorAggregator strategy, AggregationRound round, TensorSink output, CancellationToken cancellationToken)
{
    // up to so many values of all clients, a tensor does not keep several threads busy
    private const long SmallTensor = 1 << 23;

    private readonly RoundOptions _options = round.Options;
    private readonly RoundWork _work = new(round.Options.Backend ?? new SimdBackend());
    private readonly IReadOnlyList<TensorInfo> _outputs = round.Options.OutputDType is null ? round.Global.Tensors : [.. round.Global.Tensors.Select(tensor => OutputInfo(tensor, round.Options))];

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
                check.ReleaseDropped();
                check.CheckQuorum();
            }
        }
        finally
        {
            check.Participants.ForEach(participant => participant.Dispose());
        }
    }

    /// <summary>Makes and publishes the model; null where the round must start over without what a policy dropped.</summary>
    private AggregationResult? TryAggregate(RoundCheck check, LoraPairs pairs, Workers workers)
    {
        Dictionary<string, string> dropped = check.DroppedTensors();
        BalancedSink? balanced = _options.BalanceLora ? new BalancedSink(output, [.. pairs.All.Where(IsBalanced)]) : null;
        TensorSink sink = balanced ?? output;
        RoundState state = Begin(check, workers, sink, dropped);
        using ReadAhead? ahead = state.ReadAhead;
        sink.Begin(_outputs, Metadata());
        try
        {
            RoundReport report = Compute(check, state, pairs);
            if (balanced is not null)
                NoteUnbalanced(check, pairs, IsBalanced, balanced.Balance(workers, _work.Backend));
            if (!check.AreFilesUnchanged())
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
            pair.Rank <= PairBalance.MostRank && !dropped.ContainsKey(pair.A.Name) && !dropped.ContainsKey(pair.B.Name);
    }

    private static void NoteUnbalanced(
        RoundCheck check, LoraPairs pairs, Func<LoraPair, bool> isBalanced, ILookup<string, LoraPair> unbalanced)
    {
        if (LoraPairs.Name(pairs.All.Where(pair => pair.Rank > PairBalance.MostRank)) is { } ranks)
            check.Notes.Add($"The factors of {ranks} were not balanced: their rank is above {PairBalance.MostRank}.");
        if (LoraPairs.Name(pairs.All.Where(pair => pair.Rank <= PairBalance.MostRank && !isBalanced(pair))) is { } kept)
            check.Notes.Add($"The factors of {kept} were not balanced: at least one of the two keeps the global model's value.");
        foreach (IGrouping<string, LoraPair> same in unbalanced)
            check.Notes.Add($"The factors of {LoraPairs.Name(same)} were not balanced: {same.Key}.");
    }

    private RoundState Begin(RoundCheck check, Workers workers, TensorSink sink, IReadOnlyDictionary<string, string> dropped)
    {
        List<Participant> included = [.. check.Included];
        double total = included.Sum(participant => participant.Weight);
        bool largerThanMemory = included.Sum(participant => participant.BytesInFiles) > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        return new RoundState(
            round.Global, included, [.. included.Select(participant => new RoundClient(participant.Id, participant.Weight, participant.Weight / total))],
            _work.Backend, workers, sink)
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
        IReadOnlyList<TensorInfo> ruled = round.Global.Tensors;
        if (ruled.Any(tensor => !IsRuled(tensor)))
            ruled = [.. ruled.Where(IsRuled)];
        ITensorRule rule = strategy.BeginRound(new ModelContext(
            state.Clients, ruled, bytes => Meter("prepare", bytes), (tensor, progress) => new OpenTensorContext(state, tensor, OutputInfo(tensor, _options), progress)));
        TensorReports tensors = AggregateAll(check, state, rule);
        return new RoundReport
        {
            Strategy = strategy.Name,
            Backend = _work.Backend.Name,
            Round = _options.Round,
            Clients = DescribeAll(check, state),
            Tensors = tensors,
            LoraPairs = _options.Statistics ? LoraCrossTerms.Compute(state, pairs.All.Where(pair => IsRuled(pair.A) && IsRuled(pair.B)), check.Notes) : [],
            Notes = check.Notes,
        };

        bool IsRuled(TensorInfo tensor) => tensor.DType.IsComputed && !state.Dropped.ContainsKey(tensor.Name);
    }

    /// <summary>Tensors one after the other on all threads; runs of small ones side by side, each on one thread.</summary>
    private TensorReports AggregateAll(RoundCheck check, RoundState state, ITensorRule rule)
    {
        IReadOnlyList<TensorInfo> tensors = round.Global.Tensors;
        var reports = new TensorReports(strategy.Name, state.Clients, _outputs);
        // a context serves one tensor after the other: what it holds need not be made anew
        var idle = new ConcurrentBag<OpenTensorContext>();
        OpenTensorContext? onAll = null;
        ProgressMeter? meter = Meter("aggregate", round.Global.TotalBytes);
        try
        {
            TensorBatches.Run(
                state.Workers, tensors.Count, i => tensors[i].ElementCount * state.Clients.Count, rule.IsThreadSafe ? SmallTensor : -1,
                MakeAlone, i => Make(i, ref onAll, state));
        }
        finally
        {
            foreach (OpenTensorContext context in idle)
                context.Workers.Dispose();
        }

        return reports;

        void MakeAlone(int i)
        {
            idle.TryTake(out OpenTensorContext? context);
            try
            {
                Make(i, ref context, context is null ? state.OnOneThread() : state);
            }
            finally
            {
                if (context is not null)
                    idle.Add(context);
            }
        }

        void Make(int i, [NotNull] ref OpenTensorContext? context, RoundState on)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ProgressMeter.TensorProgress? progress = meter?.Begin(tensors[i]);
            if (context is null)
                context = new OpenTensorContext(on, tensors[i], _outputs[i], progress, i);
            else
                context.Open(tensors[i], _outputs[i], progress, i);
            using (context)
                Aggregate(check, state, rule, context, reports, i);
            progress?.End();
        }
    }

    private void Aggregate(RoundCheck check, RoundState state, ITensorRule rule, OpenTensorContext context, TensorReports reports, int number)
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
            reports.Set(number, context.Reported(), statistics, state.SharesSent(tensor));
        }
        else if (tensor.DType.IsInteger && _options.Integers == IntegerRule.Mean)
        {
            context.WriteIntegerMean();
            reports.Set(number, "integer mean", null, [.. state.Clients.Select(client => new TensorClientReport { Id = client.Id, Weight = client.Share })]);
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
            ShareSent = participant.Find(tensor.Name) is null ? 0 : participant.ShareSent(tensor),
            NonFinite = check.NonFinite.GetValueOrDefault((participant.Id, tensor.Name)),
        }),
    ];

    /// <summary>Finds whose values are not finite and applies the policy; throws where the round must be refused.</summary>
    private void Explain(NonFiniteOutputException failure, RoundCheck check, RoundState state)
    {
        // all tensors are looked through at once, so that the round starts over once; and one tensor's values may be weighed by another's
        // the failure may name the output's tensor, which can have another type
        TensorInfo failed = round.Global.Find(failure.Tensor.Name)!;
        int faults = FindNonFinite(failed, check, state, failed: true);
        foreach (TensorInfo tensor in round.Global.Tensors.Where(tensor => tensor.DType.IsComputed && tensor != failed))
            faults += FindNonFinite(tensor, check, state, failed: false);
        if (faults == 0 && !FindTooLarge(failed, check, state) && !FaultLargest(failure, failed, check, state))
            throw new RoundRejectedException(RoundFault.NonFinite, $"Tensor {Sentence.Quote(failure.Tensor.Name)}: {failure.Message}", tensor: failure.Tensor.Name);
    }

    /// <summary>How many clients' values are not finite. The global model is to blame only for the tensor that failed: others' it may never have given.</summary>
    private int FindNonFinite(TensorInfo tensor, RoundCheck check, RoundState state, bool failed)
    {
        if (state.Dropped.ContainsKey(tensor.Name))
            return 0;
        using var context = new OpenTensorContext(state, tensor, OutputInfo(tensor, _options));
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        int faults = 0;
        long? ofGlobal = null;
        for (int k = 0; k < inputs.Length; k++)
        {
            if (context.CountNonFinite(inputs[k]) is not (var count and > 0))
                continue;
            // an update that is not whole takes values from the global model: then the fault may be that model's
            if (state.Participants[k].Kind != UpdateKind.Full && (ofGlobal ??= context.CountNonFinite(context.Global)) > 0)
            {
                if (failed)
                    break;
                continue;
            }

            check.NonFinite[(state.Participants[k].Id, tensor.Name)] = count;
            // a delta of finite values may lead out of the type
            bool isSum = state.Participants[k].Kind == UpdateKind.Delta && context.CountNonFinite(context.Inputs(UpdateForm.Delta, withGlobal: false)[k]) == 0;
            string found = isSum ? $"is a delta that, added to the global model, has {Sentence.NonFinite(count)}" : $"has {Sentence.NonFinite(count)}";
            check.Fault(_options.OnNonFinite, RoundFault.NonFinite, state.Participants[k], tensor.Name,
                $"{state.Participants[k].Who}: tensor {Sentence.Quote(tensor.Name)} {found}; finite values were expected.");
            faults++;
        }

        if (failed && (faults == 0 || ofGlobal > 0) && (ofGlobal ?? context.CountNonFinite(context.Global)) is var own and > 0)
        {
            string where = round.Global.IsInMemory ? "" : $" in {Sentence.Quote(round.Global.Location)}";
            throw new RoundRejectedException(
                RoundFault.NonFinite, $"The global model's tensor {Sentence.Quote(tensor.Name)}{where} has {Sentence.NonFinite(own)}; finite values were expected.",
                tensor: tensor.Name);
        }

        return faults;
    }

    /// <summary>
    /// Whether a client's finite values do not fit the output's type, as those of a wider type may not: one such client must not end every
    /// round.
    /// </summary>
    private bool FindTooLarge(TensorInfo tensor, RoundCheck check, RoundState state)
    {
        if (state.OnDevice || state.Dropped.ContainsKey(tensor.Name))
            return false;
        using var context = new OpenTensorContext(state, tensor, OutputInfo(tensor, _options));
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        bool found = false;
        for (int k = 0; k < inputs.Length; k++)
        {
            if (context.CountTooLarge(inputs[k]) is not (var count and > 0))
                continue;
            check.Fault(_options.OnNonFinite, RoundFault.NonFinite, state.Participants[k], tensor.Name,
                $"{state.Participants[k].Who}: tensor {Sentence.Quote(tensor.Name)} has {Sentence.Count(count, "value")} too large for {context.Output.DType.SafetensorsName}; " +
                "values that fit the output's type were expected.");
            found = true;
        }

        return found;
    }

    /// <summary>
    /// Where finite values that fit have a result that does not, nobody's values are wrong. So that one client cannot end every round by values at the type's
    /// limit, a policy other than to refuse applies to the client whose values are the largest; false where it is to refuse.
    /// </summary>
    private bool FaultLargest(NonFiniteOutputException failure, TensorInfo tensor, RoundCheck check, RoundState state)
    {
        if (_options.OnNonFinite == FaultPolicy.Reject || state.Dropped.ContainsKey(tensor.Name))
            return false;
        using var context = new OpenTensorContext(state, tensor, OutputInfo(tensor, _options));
        double[] norms = context.Measure().Norms;
        Participant largest = state.Participants[Array.IndexOf(norms, norms.Max())];
        check.Fault(_options.OnNonFinite, RoundFault.NonFinite, largest, tensor.Name,
            $"{largest.Who}: tensor {Sentence.Quote(tensor.Name)} has the largest values, and {failure.Message}");
        return true;
    }

    private ProgressMeter? Meter(string phase, long bytes) => _options.Progress is { } progress ? new ProgressMeter(progress, phase, bytes) : null;

    private static ClientReport[] DescribeAll(RoundCheck check, RoundState state)
    {
        Dictionary<string, double> shares = state.Clients.ToDictionary(client => client.Id, client => client.Share, StringComparer.Ordinal);
        ILookup<string, long> nonFinite = check.NonFinite.ToLookup(counted => counted.Key.Client, counted => counted.Value, StringComparer.Ordinal);
        return [.. check.Participants.Select(participant => Describe(participant, shares.GetValueOrDefault(participant.Id), nonFinite[participant.Id].Sum()))];
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

    private static TensorInfo OutputInfo(TensorInfo tensor, RoundOptions options) =>
        tensor.DType.IsComputed && options.OutputDType is { } dtype && dtype != tensor.DType ? tensor with { DType = dtype } : tensor;

    private Dictionary<string, string> Metadata()
    {
        // the global model's metadata go with it, but what an update says of itself, and the round it was of, does not
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in round.Global.Metadata)
        {
            if (key is not (MetadataKeys.Update or MetadataKeys.Base or MetadataKeys.Examples or MetadataKeys.Round) && !key.StartsWith(MetadataKeys.ShapePrefix, StringComparison.Ordinal))
                metadata[key] = value;
        }

        if (_options.Round is { } number)
            metadata[MetadataKeys.Round] = number.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return metadata;
    }
}
