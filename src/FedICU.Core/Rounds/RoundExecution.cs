using FedICU.Compute;

namespace FedICU;

/// <summary>
/// One round from the check to the committed model: tensor by tensor in the global model's order; where values turn out not to be finite, the
/// policy is applied and the round starts over without what was dropped.
/// </summary>
internal sealed class RoundExecution(TensorAggregator strategy, AggregationRound round, TensorSink output, CancellationToken cancellationToken)
{
    // up to so many values of all clients, a tensor does not keep several threads busy
    private const long SmallTensor = 1 << 23;

    private readonly RoundOptions _options = round.Options;
    private readonly IComputeBackend _backend = round.Options.Backend ?? new SimdBackend();

    public AggregationResult Run() => FedIcuTelemetry.Observe(strategy.Name, round.Updates.Count, round.Global.Tensors.Count, Execute);

    private AggregationResult Execute()
    {
        var check = new RoundCheck(round, cancellationToken);
        try
        {
            check.Run();
            using var workers = new Workers(_options.Threads, cancellationToken);
            while (true)
            {
                RoundState state = Begin(check, workers);
                output.Begin([.. round.Global.Tensors.Select(OutputInfo)], Metadata());
                try
                {
                    RoundReport report = Compute(check, state);
                    output.Commit();
                    return new AggregationResult(report);
                }
                catch (NonFiniteOutputException e)
                {
                    output.Abort();
                    Explain(e, check, state);
                    check.CheckQuorum();
                }
                catch
                {
                    output.Abort();
                    throw;
                }
            }
        }
        catch (InvalidModelException e)
        {
            throw Attributed(check, e);
        }
        finally
        {
            check.Participants.ForEach(participant => participant.Dispose());
        }
    }

    private RoundState Begin(RoundCheck check, Workers workers)
    {
        List<Participant> included = [.. check.Included];
        double total = included.Sum(participant => participant.Weight);
        return new RoundState(
            round.Global, included, [.. included.Select(participant => new RoundClient(participant.Id, participant.Weight, participant.Weight / total))],
            _backend, workers, output);
    }

    private RoundReport Compute(RoundCheck check, RoundState state)
    {
        TensorInfo[] ruled = [.. round.Global.Tensors.Where(tensor => tensor.DType.IsComputed && !check.DroppedTensors.ContainsKey(tensor.Name))];
        long prepared = 0;
        ITensorRule rule = strategy.BeginRound(new ModelContext(state.Clients, ruled, tensor =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            // each look begins at the first tensor
            prepared = (tensor == ruled[0] ? 0 : prepared) + tensor.ByteLength;
            _options.Progress?.Report(new RoundProgress("prepare", tensor.Name, prepared, ruled.Sum(other => other.ByteLength)));
            return new TensorContext(state, tensor, OutputInfo(tensor));
        }));
        TensorReport[] tensors = AggregateAll(check, state, rule);
        return new RoundReport
        {
            Strategy = strategy.Name,
            Backend = _backend.Name,
            Round = _options.Round,
            Clients = [.. check.Participants.Select(participant => Describe(participant, state))],
            Tensors = tensors,
            LoraPairs = _options.Statistics ? LoraCrossTerms.Compute(state, ruled, check.Notes) : [],
            Notes = check.Notes,
        };
    }

    /// <summary>Tensors one after the other on all threads; runs of small ones side by side, each on one thread.</summary>
    private TensorReport[] AggregateAll(RoundCheck check, RoundState state, ITensorRule rule)
    {
        IReadOnlyList<TensorInfo> tensors = round.Global.Tensors;
        var reports = new TensorReport[tensors.Count];
        using var alone = new Workers(1, cancellationToken);
        RoundState sideBySide = state with { Workers = alone, PreloadBytes = state.PreloadBytes / state.Workers.Threads };
        long done = 0;
        var gate = new Lock();
        for (int i = 0; i < tensors.Count; i++)
        {
            int first = i;
            long values = 0;
            for (; rule.IsThreadSafe && i < tensors.Count && tensors[i].ElementCount * state.Clients.Count is var own and <= SmallTensor; i++)
                values += own;
            if (i > first)
                state.Workers.Run(i - first, values >= Workers.WorthThreads, (piece, _) => Make(first + piece, sideBySide));
            if (i < tensors.Count)
                Make(i, state);
        }

        return reports;

        void Make(int i, RoundState on)
        {
            cancellationToken.ThrowIfCancellationRequested();
            reports[i] = Aggregate(check, on, rule, tensors[i]);
            lock (gate)
                _options.Progress?.Report(new RoundProgress("aggregate", tensors[i].Name, done += tensors[i].ByteLength, round.Global.TotalBytes));
        }
    }

    private TensorReport Aggregate(RoundCheck check, RoundState state, ITensorRule rule, TensorInfo tensor)
    {
        using var context = new TensorContext(state, tensor, OutputInfo(tensor));
        var report = new TensorReport { Name = tensor.Name, DType = context.Output.DType.SafetensorsName, Shape = tensor.Shape.Dimensions.ToArray(), Rule = strategy.Name };
        if (check.DroppedTensors.TryGetValue(tensor.Name, out string? reason))
        {
            context.KeepGlobal();
            return report with
            {
                Rule = "kept",
                Reason = reason,
                Clients =
                [
                    .. state.Participants.Select(participant => new TensorClientReport
                    {
                        Id = participant.Id,
                        ShareSent = participant.Find(tensor.Name) is null ? 0 : participant.ShareSent(tensor),
                        NonFinite = check.NonFinite.GetValueOrDefault((participant.Id, tensor.Name)),
                    }),
                ],
            };
        }

        if (!tensor.DType.IsComputed)
        {
            if (tensor.DType.IsInteger && _options.Integers == IntegerRule.Mean)
            {
                context.IntegerMean();
                return report with { Rule = "integer mean" };
            }

            context.KeepGlobal();
            return report with { Rule = "kept", Reason = $"{tensor.DType.SafetensorsName} tensors keep the global model's value." };
        }

        UpdateStatistics? statistics = _options.Statistics ? context.Measure() : null;
        rule.Aggregate(context);
        return report with
        {
            Clients =
            [
                .. state.Participants.Select((participant, k) => new TensorClientReport
                {
                    Id = participant.Id,
                    Weight = context.Weights[k],
                    Score = context.Scores[k],
                    Norm = statistics?.Norms[k],
                    UpdateNorm = statistics?.UpdateNorms[k],
                    Cosine = statistics?.Cosines[k],
                    ShareSent = participant.ShareSent(tensor),
                }),
            ],
        };
    }

    /// <summary>Finds whose values are not finite and applies the policy; throws where the round must be refused.</summary>
    private void Explain(NonFiniteOutputException failure, RoundCheck check, RoundState state)
    {
        int faults = FindNonFinite(failure.Tensor, check, state);
        if (faults == 0)
        {
            throw new RoundRejectedException(
                RoundFault.NonFinite,
                $"Tensor '{failure.Tensor.Name}': {failure.Count} results are not finite, from finite inputs; they do not fit {OutputInfo(failure.Tensor).DType.SafetensorsName}.",
                tensor: failure.Tensor.Name);
        }

        // with a policy that goes on, all the other tensors are looked through at once, so that the round starts over once
        foreach (TensorInfo tensor in round.Global.Tensors.Where(tensor => tensor.DType.IsComputed && tensor != failure.Tensor))
            FindNonFinite(tensor, check, state);
    }

    private int FindNonFinite(TensorInfo tensor, RoundCheck check, RoundState state)
    {
        if (check.DroppedTensors.ContainsKey(tensor.Name))
            return 0;
        using var context = new TensorContext(state, tensor, OutputInfo(tensor));
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        int faults = 0;
        for (int k = 0; k < inputs.Length; k++)
        {
            if (context.CountNonFinite(inputs[k]) is var count and > 0)
            {
                // an update that is not whole takes values from the global model: then the fault may be that model's
                check.NonFinite[(state.Participants[k].Id, tensor.Name)] = count;
                long global = state.Participants[k].Kind == UpdateKind.Full ? 0 : context.CountNonFinite(context.Global);
                if (global > 0)
                    throw GlobalNotFinite(tensor, global);
                check.Fault(_options.OnNonFinite, RoundFault.NonFinite, state.Participants[k], tensor.Name,
                    $"Client '{state.Participants[k].Id}': tensor '{tensor.Name}' has {count} values that are NaN or infinite; finite values were expected.");
                faults++;
            }
        }

        if (faults == 0 && context.CountNonFinite(context.Global) is var own and > 0)
            throw GlobalNotFinite(tensor, own);
        return faults;
    }

    private static RoundRejectedException GlobalNotFinite(TensorInfo tensor, long count) => new(
        RoundFault.NonFinite, $"The global model's tensor '{tensor.Name}' has {count} values that are NaN or infinite; finite values were expected.", tensor: tensor.Name);

    /// <summary>A file that broke while it was read belongs to a client; the sentence names it.</summary>
    private static FedIcuException Attributed(RoundCheck check, InvalidModelException e)
    {
        Participant? owner = check.Participants.Find(participant => participant.IsOpen && e.Message.StartsWith($"'{participant.Source.Location}'", StringComparison.Ordinal));
        return owner is null ? e : new RoundRejectedException(RoundFault.Unreadable, $"Client '{owner.Id}': {e.Message}", owner.Id);
    }

    private static ClientReport Describe(Participant participant, RoundState state) => new()
    {
        Id = participant.Id,
        Weight = participant.Weight,
        Share = state.Clients.FirstOrDefault(client => client.Id == participant.Id)?.Share ?? 0,
        Included = participant.Exclusion is null,
        Reason = participant.Exclusion,
        Kind = participant.IsOpen ? participant.Kind.Text() : "unknown",
        BytesSent = participant.BytesSent,
        BytesFull = participant.BytesFull,
    };

    private TensorInfo OutputInfo(TensorInfo tensor) =>
        tensor.DType.IsComputed && _options.OutputDType is { } dtype ? tensor with { DType = dtype } : tensor;

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
