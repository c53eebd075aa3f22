using FedICU.Text;

namespace FedICU.Extensions;

public sealed partial class FederatedRounds
{
    /// <summary>Opens the current round, or begins the first one, and runs the rounds from now on.</summary>
    /// <exception cref="FedIcuException">The folder, the model or the session cannot be opened.</exception>
    internal Task StartAsync(CancellationToken cancellationToken) => Task.Run(
        () =>
        {
            var folders = new RoundFolders(_options.Folder!);
            try
            {
                if (!folders.List().Any())
                    BeginFirst(folders, cancellationToken);
                long number = folders.List().Last();
                int attempt = folders.FindAttempt(number);
                var finished = new FinishedRounds(folders, _options.ListedRounds, LogDamagedReport);
                finished.Restore(number);
                folders.Sweep(number, attempt, _options.KeptModels);
                RunningRound current = Open(folders, number, attempt, cancellationToken);
                lock (_gate)
                    (_folders, _current, _finished) = (folders, current, finished);
            }
            catch
            {
                folders.Dispose();
                throw;
            }

            _running = Task.Run(() => RunAsync(_stopping.Token), CancellationToken.None);
        },
        cancellationToken);

    private void BeginFirst(RoundFolders folders, CancellationToken cancellationToken)
    {
        if (_options.InitialModel is not { } path)
            throw new FedIcuException($"The folder '{_options.Folder}' holds no rounds, and no initial model is given; one was expected.");
        using TensorSource initial = TensorSource.Open(path);
        initial.SaveTo(folders.BeginNext(initial), cancellationToken);
        folders.Publish(1);
    }

    private RunningRound Open(RoundFolders folders, long number, int attempt, CancellationToken cancellationToken)
    {
        string model = folders.FindModel(number) ??
            throw new FedIcuException($"Round {number} in '{_options.Folder}' has no global model.");
        var arrivals = new SessionOptions
        {
            RequireWeights = _options.RequireWeights,
            CheckValues = _options.CheckValues,
            Stages = _configured.Aggregator.Stages,
            TimeProvider = _clock,
        };
        RoundOptions options = _configured.Options;
        // a damaged file must not keep the server from its other clients; the round leaves its client out
        if (_options.DropFaultyClients)
            options = options with { OnUnreadable = FaultPolicy.DropClient };
        var round = new RunningRound(
            number, attempt, model, folders.SessionOf(number, attempt), options, arrivals, _options.CreateCollectorOptions(_clock),
            cancellationToken);
        if (IsAfterLast(number))
            LogFinished(number - 1);
        else if (attempt > 1)
            LogOpenAgain(number, attempt, round.Session.Count, _options.ExpectedClients);
        else
            LogOpen(number, round.Session.Count, _options.ExpectedClients);
        return round;
    }

    private async Task RunAsync(CancellationToken stopping)
    {
        // the round to open, once the current one is over; opening may fail and is then tried again
        (long Number, int Attempt)? next = null;
        while (next is not null || !IsAfterLast(_current!.Number))
        {
            try
            {
                if (next is { } begin)
                    Begin(begin.Number, begin.Attempt, stopping);
                next = next is null ? await RunRoundAsync(_current!, stopping).ConfigureAwait(false) : null;
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // the server's fault or a strategy's: the updates are on the disk, and the round is tried again
                LogFailed(e, next?.Number ?? _current!.Number, _options.RetryDelay);
                Fail(e.Message);
                await Task.Delay(_options.RetryDelay, _clock, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (stopping.IsCancellationRequested)
                    return;
            }
        }
    }

    /// <summary>Waits until a round is complete and aggregates it.</summary>
    /// <returns>The round to open next; null if this one goes on.</returns>
    private async Task<(long Number, int Attempt)?> RunRoundAsync(RunningRound current, CancellationToken stopping)
    {
        RoundReport report;
        AggregationRound? round = null;
        try
        {
            round = FaultyClients.LeaveOut(
                await current.Collector.CompleteAsync(CreateOptions(current), stopping).ConfigureAwait(false), current.LeftOut);
            TensorSink next = _folders!.BeginNext(current.Global);
            using RoundState? state = _configured.Aggregator.KeepsState ? _folders.CreateState(current.Number) : null;
            round.State = state;
            report = (await _configured.Aggregator.AggregateAsync(round, next, stopping).ConfigureAwait(false)).Report;
        }
        catch (RoundRejectedException e) when (IsFaultOfOne(e, round) && current.LeftOut.TryAdd(e.ClientId!, e.Message))
        {
            // a fault without a policy, such as a strategy's own; the round is aggregated again without the client
            return null;
        }
        catch (RoundRejectedException e)
        {
            LogRefused(current.Number, current.Attempt + 1, e.Message);
            Fail(e.Message);
            SetOpening(current.Number);
            RecordEnd("rejected", current);
            return (current.Number, current.Attempt + 1);
        }

        // in this order, so that a crash at any point repeats the round or finds it over, with its report
        _folders.WriteReport(current.Number, report);
        _folders.Publish(current.Number + 1);
        foreach (ClientReport client in report.Clients.Where(client => !client.Included))
            LogLeftOut(current.Number, Sentence.Clean(client.Id), client.Reason ?? "");
        LogOver(current.Number, report.Clients.Count(client => client.Included), report.Clients.Count);
        _finished!.Add(current.Number, report);
        SetOpening(current.Number + 1);
        RecordEnd("aggregated", current);
        return (current.Number + 1, 1);
    }

    /// <summary>Creates the options of the aggregation.</summary>
    private RoundOptions CreateOptions(RunningRound current)
    {
        RoundOptions options = _configured.Options with { Round = current.Number };
        return _options.DropFaultyClients ? FaultyClients.Drop(options, _options.Quorum) : options;
    }

    /// <summary>Whether an aggregation was refused because of one client that can be left out.</summary>
    private bool IsFaultOfOne(RoundRejectedException e, AggregationRound? round) =>
        _options.DropFaultyClients && round is not null && round.Updates.Any(update => update.Id == e.ClientId);

    /// <summary>Opens the next round, or the current one again.</summary>
    private void Begin(long number, int attempt, CancellationToken stopping)
    {
        RunningRound next = Open(_folders!, number, attempt, stopping), before;
        lock (_gate)
        {
            before = _current!;
            (_current, _opening) = (next, null);
            if (number > before.Number)
                _lastFailure = null;
            _changed.TrySetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        // after the change, so that an upload that ends now finds the round to send to
        before.Dispose();
        _folders!.Sweep(number, attempt, _options.KeptModels);
    }

    private void SetOpening(long number)
    {
        lock (_gate)
            _opening = number;
    }

    private void Fail(string sentence)
    {
        lock (_gate)
            _lastFailure = sentence;
    }

    private void RecordEnd(string outcome, RunningRound round) =>
        FederatedRoundsTelemetry.RecordEnd(outcome, _clock.GetUtcNow() - round.Session.Begun);
}
