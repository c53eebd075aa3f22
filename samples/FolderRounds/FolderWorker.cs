using FedICU;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FolderRounds;

/// <summary>
/// Watches a folder for rounds. Clients put their updates (<c>client.safetensors</c>) into <c>inbox/7/</c>. The round
/// starts when the folder contains a file <c>ready</c>, or when it has a quorum and nothing changed for the quiet time,
/// if both are set.
/// </summary>
/// <remarks>
/// A round aggregates the updates, replaces the global model, and moves the folder with the report to <c>done/</c>. A
/// round that is refused or fails moves to <c>failed/</c> with the reason. The global model then stays unchanged, and
/// the other rounds continue.
/// </remarks>
internal sealed partial class FolderWorker(
    IAggregator aggregator, RoundOptions roundOptions, IOptions<FolderOptions> options, TimeProvider clock, ILogger<FolderWorker> logger)
    : BackgroundService
{
    // the number of attempts before a round is refused, counting workers that crashed or were stopped during it; chosen
    private const int MostAttempts = 5;

    private readonly FolderOptions _options = options.Value;
    private readonly WorkStateFile _stateFile = new(options.Value.Path);
    private readonly string _global = Path.Combine(options.Value.Path, options.Value.Global);
    private readonly string _inbox = Path.Combine(options.Value.Path, "inbox");
    private readonly string _done = Path.Combine(options.Value.Path, "done");
    private readonly string _failed = Path.Combine(options.Value.Path, "failed");
    // each waiting round's files, and the time since which they are unchanged
    private readonly Dictionary<string, (string Files, long Since)> _seen = [];
    // Refused rounds that could not be moved, and the reason of the refusal. Each is logged once, and every scan tries
    // again.
    private readonly Dictionary<string, string> _unmoved = [];
    // Folders that could not be listed, and why. Each is logged once, and every scan tries again.
    private readonly Dictionary<string, string> _unlisted = [];
    // the state in which the previous worker ended
    private WorkState? _previousState;
    private WorkState? _state;
    private bool _loaded;
    // the last error that stopped all rounds, so that it is logged once
    private string? _lastError;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using FileStream folderLock = Enter();
        LogWatching(_inbox, aggregator.Name);
        using var timer = new PeriodicTimer(_options.Poll, clock);
        do
            await ScanAsync(stoppingToken);
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    /// <summary>Scans the inbox once, and aggregates all rounds that are ready.</summary>
    internal async Task ScanAsync(CancellationToken cancellationToken)
    {
        try
        {
            FinishInterrupted(cancellationToken);
            // a folder whose name begins with a dot is still being uploaded
            DirectoryInfo[] folders = [.. new DirectoryInfo(_inbox).GetDirectories().Where(folder => !folder.Name.StartsWith('.'))];
            Forget(_seen, folders);
            Forget(_unmoved, folders);
            Forget(_unlisted, folders);
            foreach (DirectoryInfo folder in folders.OrderBy(folder => RoundFolder.NumberOf(folder.Name) ?? long.MaxValue))
            {
                if (_unmoved.TryGetValue(folder.Name, out string? reason))
                    MoveToFailed(folder, reason);
                else if (FindReady(folder) is { } round)
                    await RunAsync(folder, round, cancellationToken);
            }

            _lastError = null;
        }
        catch (Exception e) when (e is FedIcuException or IOException or UnauthorizedAccessException)
        {
            // the error concerns the global model or the disk and no single round, so all rounds wait
            if (_lastError != e.Message)
                LogRoundsWait(e.Message);
            _lastError = e.Message;
        }
    }

    /// <summary>Creates the folders and takes the lock, so that no second worker aggregates the same rounds.</summary>
    private FileStream Enter()
    {
        try
        {
            foreach (string folder in (string[])[_inbox, _done, _failed])
                Directory.CreateDirectory(folder);
            var folderLock = new FileStream(
                Path.Combine(_options.Path, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            WholeFile.Sweep(_options.Path, WorkStateFile.FileName);
            return folderLock;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException($"The folder '{_options.Path}' cannot be watched; another worker may have locked it: {e.Message}", e);
        }
    }

    /// <summary>
    /// Runs a round. A faulty round moves to <c>failed</c>; only errors that concern all rounds are thrown.
    /// </summary>
    private async Task RunAsync(DirectoryInfo folder, RoundFolder round, CancellationToken cancellationToken)
    {
        try
        {
            if (round.DescribeFault() is { } fault)
                throw Refused(fault);
            if (Path.Exists(Path.Combine(_done, round.Name)))
                throw Refused($"Round {round.Name} is done already.");
            await AggregateAsync(round, cancellationToken);
        }
        catch (RoundRejectedException e)
        {
            MoveToFailed(folder, e.Message);
        }
    }

    private async Task AggregateAsync(RoundFolder round, CancellationToken cancellationToken)
    {
        using TensorSource global = TensorSource.Open(_global);
        string digest = ModelDigest.Compute(global, cancellationToken);
        int attempts = (_previousState is { } last && last.Round == round.Name ? last.Attempts : 0) + 1;
        if (attempts > MostAttempts)
            throw Refused($"The worker ended {MostAttempts} times during this round.");
        Save(new WorkState { Round = round.Name, Base = digest, Attempts = attempts });
        var sink = new PendingSink(TensorSink.ToFile(_global));
        RoundReport report;
        try
        {
            var updates = new AggregationRound(global, roundOptions with { Round = round.Number });
            foreach (ClientUpdate update in round.Updates())
                updates.Add(update);
            report = (await aggregator.AggregateAsync(updates, sink, cancellationToken)).Report;
        }
        catch (Exception e)
        {
            Save(null);
            bool stopping = e is OperationCanceledException && cancellationToken.IsCancellationRequested;
            bool cannotWrite = e.GetType() == typeof(FedIcuException);
            if (stopping || cannotWrite || e is RoundRejectedException || !IsGlobalUnchanged(digest, cancellationToken))
                throw;
            LogFailed(e, round.Name);
            throw Refused(e is FedIcuException ? e.Message : $"The round failed unexpectedly ({e.GetType().Name}): {e.Message}");
        }

        try
        {
            // the report is saved before the model is published, so that a crash in between cannot lose it
            Save(_state! with { Report = report.ToJson() });
            sink.Publish();
        }
        catch
        {
            // the next scan finds out whether the model was published
            sink.Withdraw();
            throw;
        }

        LogAggregated(round.Name, report.Clients.Count(client => client.Included), report.Clients.Count);
        MoveToDone(_state!);
    }

    /// <summary>Completes the round that a crash interrupted.</summary>
    private void FinishInterrupted(CancellationToken cancellationToken)
    {
        if (!_loaded)
            _state = _previousState = _stateFile.Load();
        _loaded = true;
        if (_state is { Refusal: { } sentence, Place: { } name })
        {
            string source = Path.Combine(_inbox, _state.Round), place = Path.Combine(_failed, name);
            if (!Path.Exists(place) && Directory.Exists(source))
            {
                MoveToFailed(new DirectoryInfo(source), sentence);
                return;
            }

            WriteRefusal(place, sentence);
            Save(null);
        }
        else if (_state is { Report: not null } && IsPublished(_state, cancellationToken))
        {
            LogFinished(_state.Round);
            MoveToDone(_state);
        }
        else if (_state is { Report: not null })
        {
            // the round runs again and gives the same bits
            Save(null);
        }
    }

    /// <summary>Whether a round's result became the global model before the crash.</summary>
    private bool IsPublished(WorkState state, CancellationToken cancellationToken)
    {
        if (!Directory.Exists(Path.Combine(_inbox, state.Round)) && Directory.Exists(Path.Combine(_done, state.Round)))
            return true;
        using TensorSource global = TensorSource.Open(_global);
        return RoundFolder.NumberOf(global.Metadata.GetValueOrDefault(MetadataKeys.Round)) == RoundFolder.NumberOf(state.Round) &&
            ModelDigest.Compute(global, cancellationToken) != state.Base;
    }

    /// <summary>
    /// Whether the global model can be read and is unchanged since the round began. If so, the round itself failed.
    /// </summary>
    private bool IsGlobalUnchanged(string digest, CancellationToken cancellationToken)
    {
        try
        {
            using TensorSource global = TensorSource.Open(_global);
            return ModelDigest.Compute(global, cancellationToken) == digest;
        }
        catch (InvalidModelException)
        {
            return false;
        }
    }

    /// <summary>
    /// Returns the round in a folder if it is ready; null if it is not, or if the folder cannot be listed.
    /// </summary>
    private RoundFolder? FindReady(DirectoryInfo folder)
    {
        try
        {
            var round = new RoundFolder(folder);
            bool ready = round.IsLink || IsReady(round);
            _unlisted.Remove(folder.Name);
            return ready ? round : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (_unlisted.TryAdd(folder.Name, e.Message))
                LogNotListed(RoundFolder.Escape(folder.Name), e.Message);
            return null;
        }
    }

    private bool IsReady(RoundFolder round)
    {
        if (round.HasReady)
            return true;
        if (roundOptions.Quorum is not { } quorum || _options.QuietTime is not { } quiet)
            return false;
        (string stamp, int count) = round.DescribeUploads();
        // measured with this process's clock: the uploads' own file times cannot be trusted
        if (_seen.TryGetValue(round.Name, out (string Files, long Since) seen) && seen.Files == stamp)
            return count >= quorum && clock.GetElapsedTime(seen.Since) >= quiet;
        _seen[round.Name] = (stamp, clock.GetTimestamp());
        return false;
    }

    private void Save(WorkState? state)
    {
        if (state is null)
            _stateFile.Clear();
        else
            _stateFile.Save(state);
        _state = state;
    }

    private static void Forget<T>(Dictionary<string, T> known, DirectoryInfo[] folders)
    {
        foreach (string gone in known.Keys.Except(folders.Select(folder => folder.Name)).ToList())
            known.Remove(gone);
    }

    private static RoundRejectedException Refused(string sentence) => new(RoundFault.Round, sentence);
}
