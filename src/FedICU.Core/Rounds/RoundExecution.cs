using FedICU.Compute;
using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Rounds.Lora;
using FedICU.Rounds.State;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>
/// Runs one round: check, plan, statistics and weightings, merge, publication. If values are not finite, it applies the
/// policy and starts the round over without what was dropped.
/// </summary>
internal sealed class RoundExecution(
    StageSequence stages, AggregationRound round, TensorSink output, CancellationToken cancellationToken)
{
    // norms and cosines of single clients are not even computed in a private round
    private readonly RoundOptions _options = stages.IsPrivate ? round.Options with { Statistics = false } : round.Options;
    private readonly RoundWork _work = new(round.Options.Backend ?? new SimdBackend());

    public Task<AggregationResult> RunAsync() =>
        FedIcuTelemetry.ObserveAsync(stages.Name, round.Updates.Count, round.Global.Tensors.Count, ExecuteAsync);

    /// <summary>Does all that a run does before it computes, and writes nothing.</summary>
    public AggregationResult Check()
    {
        RoundCheck check = CreateCheck();
        try
        {
            CheckClients(check);
            using StateKeeper state = StateKeeper.Open(stages, round, check, readOnly: true);
            using var models = new StageModels(stages, round.Global);
            Dictionary<string, string> dropped = CollectDropped(check);
            RoundPlan plan = new RoundPlanner(stages, round, check).CreatePlan(dropped, state.RoundsFinished);
            if (check.Pairs is { } pairs)
            {
                var round = new PairRound(pairs, (PairMerge)stages.Merge, dropped);
                round.Decide(FindParticipants(check, plan), _options);
                using var workers = new Workers(1, cancellationToken);
                using PairOutputs? outputs = round.Merge.OpenOutputs(round, plan, workers);
            }

            foreach ((string tensor, string reason) in dropped)
                check.Notes.Add($"Tensor {Sentence.Quote(tensor)} would keep the global model's values: {reason}");
            return CreateResult(Describe(check, plan, [], []), check);
        }
        finally
        {
            check.Participants.ForEach(participant => participant.Dispose());
        }
    }

    private async Task<AggregationResult> ExecuteAsync()
    {
        RoundCheck check = CreateCheck();
        try
        {
            LoraPairs pairs = CheckClients(check);
            using StateKeeper state = StateKeeper.Open(stages, round, check);
            using var models = new StageModels(stages, round.Global);
            using var workers = new Workers(_options.Threads, cancellationToken);
            while (true)
            {
                int notes = check.Notes.Count;
                try
                {
                    if (await TryAggregateAsync(check, pairs, state, models, workers).ConfigureAwait(false) is { } result)
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

    private static Dictionary<string, string> CollectDropped(RoundCheck check)
    {
        Dictionary<string, string> dropped = check.CollectDroppedTensors();
        if (check.Pairs is { } pairs)
            PairRound.KeepWholePairs(pairs, dropped);
        return dropped;
    }

    private static List<Participant> FindParticipants(RoundCheck check, RoundPlan plan)
    {
        HashSet<string> ids = plan.Clients.Select(client => client.Id).ToHashSet(StringComparer.Ordinal);
        return [.. check.Included.Where(participant => ids.Contains(participant.Id))];
    }

    /// <summary>Notes a configuration that the output cannot hold.</summary>
    private void NoteConfig(PeftAdapterConfig? config, RoundCheck check)
    {
        if (config is not null && !output.HoldsAdapterConfig)
        {
            string rsLora = config.UseRsLora ? " with use_rslora" : "";
            check.Notes.Add(
                $"The new adapter has r {config.Rank} and lora_alpha {Numbers.Invariant(config.LoraAlpha)}{rsLora}, and the output holds " +
                "no configuration; a folder as output gets one if the global model has one.");
        }
    }

    /// <summary>Adds the cross-terms, if they were measured, to what the rule reports of each pair.</summary>
    private static IReadOnlyList<LoraPairReport> AddCrossTerms(
        IReadOnlyList<(LoraPair Pair, LoraPairReport Report)>? pairs, IReadOnlyList<(LoraPair Pair, LoraPairReport Report)> crossTerms)
    {
        if (pairs is null)
            return [.. crossTerms.Select(pair => pair.Report)];
        // a module may have several pairs of one name
        Dictionary<LoraPair, double> measured = crossTerms.ToDictionary(pair => pair.Pair, pair => pair.Report.CrossTerm);
        return [.. pairs.Select(pair => pair.Report with { CrossTerm = measured.GetValueOrDefault(pair.Pair, double.NaN) })];
    }

    private RoundCheck CreateCheck() => new(round, output, cancellationToken, stages);

    /// <summary>Opens and checks the clients.</summary>
    /// <returns>The LoRA pairs of the global model, if the round uses them.</returns>
    private LoraPairs CheckClients(RoundCheck check)
    {
        check.Run();
        if (check.Pairs is { } found)
            return LoraPairs.Of(found.All);
        bool usesPairs = stages.PairSteps.Count > 0 || _options.Statistics;
        LoraPairs pairs = usesPairs
            ? LoraPairs.Find(round.Global, check.AdapterConfig, comparesRanks: true, cancellationToken)
            : LoraPairs.None;
        if (pairs.DescribeOthers() is { } others)
            check.Notes.Add(others);
        return pairs;
    }

    /// <summary>Computes and publishes the model.</summary>
    /// <returns>The result; null if the round must start over without what a policy dropped.</returns>
    private async Task<AggregationResult?> TryAggregateAsync(
        RoundCheck check, LoraPairs pairs, StateKeeper state, StageModels models, Workers workers)
    {
        var planner = new RoundPlanner(stages, round, check);
        Dictionary<string, string> dropped = CollectDropped(check);
        RoundPlan plan = planner.CreatePlan(dropped, state.RoundsFinished);
        state.ReadScalars(plan);
        RoundRun run = planner.CreateRun(plan, dropped, _work, workers, output) with { State = state.Before, Models = models.ByName };
        using ReadAhead? ahead = run.Settings.ReadAhead;
        PairRound? pairRound = check.Pairs is { } all ? new PairRound(all, (PairMerge)stages.Merge, dropped) : null;
        using PairOutputs? beside = pairRound is null ? null : pairRound.Merge.OpenOutputs(pairRound, plan, workers);
        PairRunner? pairRunner = pairRound is null ? null : new PairRunner(stages, pairRound, _options) { Outputs = beside };
        var runner = new LocalRunner(stages, run, _options, check, pairs, pairRunner, pairRound);
        using var publication = new RoundPublication(output, state);
        try
        {
            ClientSimilarities? similarities =
                pairRound is null ? await MeasureSimilaritiesAsync(runner, plan, check).ConfigureAwait(false) : null;
            await SurveyAsync(runner, plan).ConfigureAwait(false);
            pairRound?.Decide(FindParticipants(check, plan), _options);
            IReadOnlyList<TensorInfo> outputs = planner.CreateOutputs(plan, pairRound);
            publication.Begin(outputs, planner.CreateMetadata(), pairRound?.Config);
            beside?.Begin();
            IReadOnlyList<TensorReport> tensors =
                await runner.RunAsync(plan, outputs, publication.Model, publication.State).ConfigureAwait(false);
            publication.State.WriteScalars(plan);
            IReadOnlyList<LoraPairReport> reports = AddCrossTerms(pairRunner?.Reports, ComputeCrossTerms(runner.Current, pairs, check));
            RoundReport report = Describe(check, runner.Current.Plan, tensors, reports) with { Similarities = similarities };
            if (!check.CheckFilesUnchanged())
                return null;
            beside?.Commit(cancellationToken);
            publication.Commit();
            check.Notes.AddRange(plan.Notes);
            NoteConfig(pairRound?.Config, check);
            return CreateResult(report, check) with { AdapterConfig = pairRound?.Config ?? check.AdapterConfig };
        }
        catch (NonFiniteOutputException e)
        {
            // the search reads the updates as they were sent
            RoundRun asSent = planner.CreateRun(planner.CreatePlan(dropped, state.RoundsFinished), dropped, _work, workers, output);
            using ReadAhead? unused = asSent.Settings.ReadAhead;
            new NonFiniteSearch(round.Global, _options, check, asSent, state, models, stages.IsPrivate).Explain(e);
            return null;
        }
    }

    /// <summary>
    /// Measures the cosines between the updates of the clients that the round begins with; null if the report does not
    /// state them.
    /// </summary>
    private async Task<ClientSimilarities?> MeasureSimilaritiesAsync(LocalRunner runner, RoundPlan plan, RoundCheck check)
    {
        if (!UpdateSimilarities.AreReported(_options, plan.Clients.Count))
            return null;
        try
        {
            foreach (RoundStatistic statistic in UpdateSimilarities.Statistics)
                await MeasureAsync(runner, plan, statistic, transformed: false).ConfigureAwait(false);
            return UpdateSimilarities.Compute(plan);
        }
        catch (Exception e) when (e is NonFiniteOutputException or RoundRejectedException { Fault: RoundFault.Round })
        {
            // values that are not finite are found again, and judged, when they are merged
            check.Notes.Add("The report states no similarities of the clients: their squared norms or distances are too large for F64.");
            return null;
        }
    }

    private static async Task MeasureAsync(IRoundRunner runner, RoundPlan plan, RoundStatistic statistic, bool transformed)
    {
        foreach (RoundStatistic before in statistic.After)
            await MeasureAsync(runner, plan, before, transformed).ConfigureAwait(false);
        if (!plan.Has(statistic))
            plan.Set(statistic, await runner.SurveyAsync(plan, statistic, transformed).ConfigureAwait(false));
    }

    /// <summary>Measures the statistics, and lets each weighting choose clients and their weights.</summary>
    private async Task SurveyAsync(IRoundRunner runner, RoundPlan plan)
    {
        foreach (ClientWeighting weighting in stages.Weightings)
        {
            await MeasureStageAsync(weighting, transformed: false).ConfigureAwait(false);
            var weights = new ClientWeights(plan.Clients);
            weighting.Weigh(plan, weights);
            int clients = plan.Clients.Count;
            plan.Apply(weighting, weights);
            if (plan.Clients.Count < clients)
            {
                foreach (Stage later in stages.All.SkipWhile(stage => stage != weighting).Skip(1))
                    later.Check(plan);
            }
        }

        foreach (UpdateTransform transform in stages.Transforms)
            await MeasureStageAsync(transform, transformed: false).ConfigureAwait(false);
        // the merge sees other updates than the weightings: what they measured does not hold for it
        if (stages.Transforms.Count > 0)
            plan.Forget(except: stages.Transforms.SelectMany(transform => transform.Statistics));
        foreach (Stage stage in stages.All.Where(stage => stage is not (ClientWeighting or UpdateTransform)))
            await MeasureStageAsync(stage, transformed: stages.Transforms.Count > 0).ConfigureAwait(false);

        async Task MeasureStageAsync(Stage stage, bool transformed)
        {
            foreach (RoundStatistic statistic in stage.Statistics)
                await MeasureAsync(runner, plan, statistic, transformed).ConfigureAwait(false);
        }
    }

    private RoundReport Describe(
        RoundCheck check, RoundPlan plan, IReadOnlyList<TensorReport> tensors, IReadOnlyList<LoraPairReport> pairs)
    {
        var report = new RoundReport
        {
            Strategy = stages.Name,
            Backend = _work.Backend.Name,
            Round = _options.Round,
            Clients = ClientReports.Create(check, plan),
            Stages = plan.Reports,
            Tensors = tensors,
            LoraPairs = pairs,
        };
        return stages.IsPrivate ? PrivateReport.Hide(report) : report;
    }

    private AggregationResult CreateResult(RoundReport report, RoundCheck check)
    {
        if (stages.IsPrivate)
            check.Notes.Add(PrivateReport.Note);
        return new(report with { BackendShares = _work.Shares, Notes = [.. check.Notes.Select(Sentence.Fit)] });
    }

    private IReadOnlyList<(LoraPair, LoraPairReport)> ComputeCrossTerms(
        RoundRun run, LoraPairs pairs, RoundCheck check) =>
        _options.Statistics ? LoraCrossTerms.Compute(run, FindMergedPairs(run, pairs), check.Notes, withSpaces: check.Pairs is null) : [];

    private static IEnumerable<LoraPair> FindMergedPairs(RoundRun run, LoraPairs pairs)
    {
        var merged = run.Plan.Tensors.Select(tensor => tensor.Name).ToHashSet(StringComparer.Ordinal);
        return pairs.All.Where(pair => merged.Contains(pair.A.Name) && merged.Contains(pair.B.Name) && HasEqualRanks(pair));

        bool HasEqualRanks(LoraPair pair) =>
            run.Participants.All(participant => participant.Find(pair.A.Name)?.Shape == pair.A.Shape);
    }
}
