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
                foreach (long round in folders.List().Where(round => round < number))
                {
                    if (File.Exists(folders.ReportOf(round)))
                        _finished.Add(Describe(round, RoundReport.FromJson(File.ReadAllText(folders.ReportOf(round))), folders));
                }

                folders.Sweep(number, _options.KeptModels);
                RunningRound current = Open(folders, number, cancellationToken);
                lock (_gate)
                    (_folders, _current) = (folders, current);
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

    private RunningRound Open(RoundFolders folders, long number, CancellationToken cancellationToken)
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
        var round = new RunningRound(
            number, model, folders.SessionOf(number), _configured.Options, arrivals, _options.CreateCollectorOptions(_clock),
            cancellationToken);
        if (IsAfterLast(number))
            LogFinished(number - 1);
        else
            LogOpen(number, round.Session.Count, _options.ExpectedClients);
        return round;
    }

    private async Task RunAsync(CancellationToken stopping)
    {
        // the round to open, once the current one is over; opening may fail and is then tried again
        long? next = null;
        while (next is not null || !IsAfterLast(_current!.Number))
        {
            try
            {
                if (next is { } number)
                    Begin(number, stopping);
                next = next is null ? await RunRoundAsync(_current!, stopping).ConfigureAwait(false) : null;
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // the server's fault or a strategy's: the updates are on the disk, and the round is tried again
                LogFailed(e, next ?? _current!.Number, _options.RetryDelay);
                Fail(e.Message);
                await Task.Delay(_options.RetryDelay, _clock, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (stopping.IsCancellationRequested)
                    return;
            }
        }
    }

    /// <summary>Waits until a round is complete and aggregates it.</summary>
    /// <returns>The number of the round to open next; null if this one goes on.</returns>
    private async Task<long?> RunRoundAsync(RunningRound current, CancellationToken stopping)
    {
        RoundReport report;
        try
        {
            AggregationRound round = await current.Collector.CompleteAsync(cancellationToken: stopping).ConfigureAwait(false);
            TensorSink next = _folders!.BeginNext(current.Global);
            using RoundState? state = _configured.Aggregator.KeepsState ? _folders.CreateState(current.Number) : null;
            round.State = state;
            report = (await _configured.Aggregator.AggregateAsync(round, next, stopping).ConfigureAwait(false)).Report;
        }
        catch (RoundRejectedException e) when (e.ClientId is { } client && current.Session.Updates.Any(update => update.Id == client))
        {
            // the next attempt goes on without it, if enough clients remain
            LogRetracted(current.Number, Sentence.Clean(client), e.Message);
            Fail(e.Message);
            current.Session.Retract(client);
            return null;
        }
        catch (RoundRejectedException e)
        {
            LogRefused(current.Number, e.Message);
            Fail(e.Message);
            current.Session.Delete();
            current.Dispose();
            return current.Number;
        }

        // in this order, so that a crash at any point repeats the round or finds it over, with its report
        _folders.WriteReport(current.Number, report);
        _folders.Publish(current.Number + 1);
        LogOver(current.Number, report.Clients.Count(client => client.Included), report.Clients.Count);
        lock (_gate)
        {
            _lastFailure = null;
            _finished.Add(Describe(current.Number, report, _folders));
        }

        current.Dispose();
        return current.Number + 1;
    }

    /// <summary>Opens the next round, or the current one again.</summary>
    private void Begin(long number, CancellationToken stopping)
    {
        RunningRound next = Open(_folders!, number, stopping);
        lock (_gate)
        {
            _current = next;
            _changed.TrySetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        _folders!.Sweep(number, _options.KeptModels);
    }

    private void Fail(string sentence)
    {
        lock (_gate)
            _lastFailure = sentence;
    }

    private static FinishedRound Describe(long number, RoundReport report, RoundFolders folders) =>
        new(number, report.Clients.Count, report.Clients.Count(client => client.Included), folders.ReportOf(number));
}
