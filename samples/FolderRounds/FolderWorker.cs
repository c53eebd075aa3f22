using System.Text;
using FedICU;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FolderRounds;

/// <summary>
/// Watches a folder for rounds. <c>inbox/7/</c> fills with clients' updates (<c>client.safetensors</c>); when it holds a file <c>ready</c>,
/// or a quorum and a quiet time are
/// set and reached, the updates are aggregated over the global model, which is replaced, and the folder goes to <c>done/</c> with its
/// report. A round that is refused, or
/// that fails in any other way, goes to <c>failed/</c> with a sentence; the global model stays as it was, and the other rounds go on.
/// </summary>
internal sealed partial class FolderWorker(
    IAggregator aggregator, RoundOptions roundOptions, IOptions<FolderOptions> options, TimeProvider clock, ILogger<FolderWorker> logger)
    : BackgroundService
{
    // chosen: the number of workers that may end during one round, by hand or by the round, before it is put aside
    private const int MostAttempts = 5;

    private readonly FolderOptions _options = options.Value;
    private readonly WorkStateFile _stateFile = new(options.Value.Path);
    private readonly string _global = Path.Combine(options.Value.Path, options.Value.Global);
    private readonly string _inbox = Path.Combine(options.Value.Path, "inbox");
    private readonly string _done = Path.Combine(options.Value.Path, "done");
    private readonly string _failed = Path.Combine(options.Value.Path, "failed");
    private readonly Dictionary<string, (string Files, long Since)> _seen = [];
    // rounds that could not be put aside or be listed, and why: logged once, tried again at each scan, in nobody's way
    private readonly Dictionary<string, string> _stuck = [], _postponed = [];
    // what the worker before this one was doing when it ended
    private WorkState? _cutShort;
    private WorkState? _state;
    private bool _loaded;
    private string? _trouble;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using FileStream only = Enter();
        LogWatching(_inbox, aggregator.Name);
        using var timer = new PeriodicTimer(_options.Poll, clock);
        do
            await ScanAsync(stoppingToken);
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    /// <summary>Looks at the inbox once, and aggregates all rounds that are ready.</summary>
    internal async Task ScanAsync(CancellationToken cancellationToken)
    {
        try
        {
            FinishInterrupted(cancellationToken);
            // a folder whose name begins with a dot is on its way
            DirectoryInfo[] folders = [.. new DirectoryInfo(_inbox).GetDirectories().Where(folder => !folder.Name.StartsWith('.'))];
            Forget(_seen, folders);
            Forget(_stuck, folders);
            Forget(_postponed, folders);
            foreach (DirectoryInfo folder in folders.OrderBy(folder => RoundFolder.NumberOf(folder.Name) ?? long.MaxValue))
            {
                if (_stuck.TryGetValue(folder.Name, out string? reason))
                    PutAside(folder, reason);
                else if (FindReady(folder) is { } round)
                    await RunAsync(folder, round, cancellationToken);
            }

            _trouble = null;
        }
        catch (Exception e) when (e is FedIcuException or IOException or UnauthorizedAccessException)
        {
            // the global model or the disk is at fault, not a round: all rounds wait
            if (_trouble != e.Message)
                LogTrouble(e.Message);
            _trouble = e.Message;
        }
    }

    /// <summary>Makes the folders; the lock keeps a second worker out, which would aggregate the same rounds.</summary>
    private FileStream Enter()
    {
        try
        {
            foreach (string folder in (string[])[_inbox, _done, _failed])
                Directory.CreateDirectory(folder);
            var only = new FileStream(Path.Combine(_options.Path, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            WholeFile.Sweep(_options.Path, WorkStateFile.FileName);
            return only;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException($"The folder '{_options.Path}' cannot be watched; another worker may have it: {e.Message}", e);
        }
    }

    /// <summary>Runs a round. Whatever is wrong with it puts it aside; only what concerns all rounds is thrown.</summary>
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
            PutAside(folder, e.Message);
        }
    }

    private async Task AggregateAsync(RoundFolder round, CancellationToken cancellationToken)
    {
        using TensorSource global = TensorSource.Open(_global);
        string digest = ModelDigest.Compute(global, cancellationToken);
        int attempts = (_cutShort is { } last && last.Round == round.Name ? last.Attempts : 0) + 1;
        if (attempts > MostAttempts)
            throw Refused($"The worker was ended {MostAttempts} times during this round.");
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
            if (stopping || cannotWrite || e is RoundRejectedException || !GlobalIsStill(digest, cancellationToken))
                throw;
            LogFailed(e, round.Name);
            throw Refused(e is FedIcuException ? e.Message : $"The round failed unexpectedly ({e.GetType().Name}): {e.Message}");
        }

        try
        {
            // the report first: a crash in between cannot lose it or give it to another model
            Save(_state! with { Report = report.ToJson() });
            sink.Publish();
        }
        catch
        {
            // whether the model is in its place is found at the next scan
            sink.Withdraw();
            throw;
        }

        LogAggregated(round.Name, report.Clients.Count(client => client.Included), report.Clients.Count);
        PutAway(_state!);
    }

    /// <summary>Completes what a crash cut short.</summary>
    private void FinishInterrupted(CancellationToken cancellationToken)
    {
        if (!_loaded)
            _state = _cutShort = _stateFile.Load();
        _loaded = true;
        if (_state is { Refusal: { } sentence, Place: { } name })
        {
            string source = Path.Combine(_inbox, _state.Round), place = Path.Combine(_failed, name);
            if (!Path.Exists(place) && Directory.Exists(source))
            {
                PutAside(new DirectoryInfo(source), sentence);
                return;
            }

            WriteRefusal(place, sentence);
            Save(null);
        }
        else if (_state is { Report: not null } && IsOver(_state, cancellationToken))
        {
            LogFound(_state.Round);
            PutAway(_state);
        }
        else if (_state is { Report: not null })
        {
            // it is run again, to the same bits
            Save(null);
        }
    }

    /// <summary>Whether the global model is that of a round: it was put in its place before the crash.</summary>
    private bool IsOver(WorkState state, CancellationToken cancellationToken)
    {
        if (!Directory.Exists(Path.Combine(_inbox, state.Round)) && Directory.Exists(Path.Combine(_done, state.Round)))
            return true;
        using TensorSource global = TensorSource.Open(_global);
        return RoundFolder.NumberOf(global.Metadata.GetValueOrDefault(MetadataKeys.Round)) == RoundFolder.NumberOf(state.Round) &&
            ModelDigest.Compute(global, cancellationToken) != state.Base;
    }

    /// <summary>Whether the global model can be read and is the one that a round began with: then what failed is the round.</summary>
    private bool GlobalIsStill(string digest, CancellationToken cancellationToken)
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
    /// Moves a round that is in the global model to <c>done</c>, with its report. Where the folder cannot be moved, the report goes there
    /// alone.
    /// </summary>
    private void PutAway(WorkState state)
    {
        string source = Path.Combine(_inbox, state.Round), done = Path.Combine(_done, state.Round);
        if (!Directory.Exists(done))
        {
            try
            {
                Directory.Move(source, done);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                LogNotMoved(state.Round, e.Message);
                Directory.CreateDirectory(done);
            }
        }

        WholeFile.Write(done, RoundFolder.Report, Encoding.UTF8.GetBytes(state.Report!));
        Save(null);
    }

    /// <summary>
    /// Moves a round to <c>failed</c> with the reason. One that cannot be moved is left, and tried again at each scan without being read.
    /// </summary>
    private void PutAside(DirectoryInfo folder, string reason)
    {
        string place = WholeFile.FreePlace(_failed, folder.Name);
        Save(new WorkState { Round = folder.Name, Refusal = reason, Place = Path.GetFileName(place) });
        try
        {
            MoveAside(folder, place);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Save(null);
            if (_stuck.TryAdd(folder.Name, reason))
                LogStuck(RoundFolder.Shown(folder.Name), reason, e.Message);
            return;
        }

        _stuck.Remove(folder.Name);
        WriteRefusal(place, reason);
        Save(null);
        LogRefused(RoundFolder.Shown(folder.Name), reason);
    }

    /// <summary>Moves a folder; a link is moved itself into a folder of its own, for a reason can be written there.</summary>
    private static void MoveAside(DirectoryInfo folder, string place)
    {
        if (folder.LinkTarget is not null)
        {
            Directory.CreateDirectory(place);
            Directory.Move(folder.FullName, Path.Combine(place, folder.Name));
        }
        else
        {
            Directory.Move(folder.FullName, place);
        }
    }

    private void WriteRefusal(string place, string reason)
    {
        try
        {
            WholeFile.Write(place, RoundFolder.Refusal, Encoding.UTF8.GetBytes(reason + "\n"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // the log has the reason
            LogNoReason(place, e.Message);
        }
    }

    /// <summary>The round in a folder where it is ready; null where it is not, or cannot be listed.</summary>
    private RoundFolder? FindReady(DirectoryInfo folder)
    {
        try
        {
            var round = new RoundFolder(folder);
            bool ready = round.IsLink || IsReady(round);
            _postponed.Remove(folder.Name);
            return ready ? round : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (_postponed.TryAdd(folder.Name, e.Message))
                LogPostponed(RoundFolder.Shown(folder.Name), e.Message);
            return null;
        }
    }

    private bool IsReady(RoundFolder round)
    {
        if (round.HasReady)
            return true;
        if (roundOptions.Quorum is not { } quorum || _options.QuietTime is not { } quiet)
            return false;
        (string stamp, int count) = round.Stamp();
        // the clock of this process: uploads bring times of their own
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

    [LoggerMessage(1, LogLevel.Information, "Watching {Folder}, strategy {Strategy}.")]
    private partial void LogWatching(string folder, string strategy);

    [LoggerMessage(2, LogLevel.Information, "Round {Round}: {Included} of {Clients} clients are in the new global model.")]
    private partial void LogAggregated(string round, int included, int clients);

    [LoggerMessage(3, LogLevel.Information, "Round {Round} was over when the worker ended; its folder is put away now.")]
    private partial void LogFound(string round);

    [LoggerMessage(4, LogLevel.Warning, "Round {Round} was refused: {Sentence}")]
    private partial void LogRefused(string round, string sentence);

    [LoggerMessage(5, LogLevel.Error, "Rounds wait: {Sentence}")]
    private partial void LogTrouble(string sentence);

    [LoggerMessage(6, LogLevel.Error, "Round {Round} failed unexpectedly.")]
    private partial void LogFailed(Exception exception, string round);

    [LoggerMessage(7, LogLevel.Error, "Round {Round} was refused and cannot be put aside: {Sentence} {Reason}")]
    private partial void LogStuck(string round, string sentence, string reason);

    [LoggerMessage(8, LogLevel.Error, "Round {Round} is in the global model, and its folder cannot be moved: {Reason}")]
    private partial void LogNotMoved(string round, string reason);

    [LoggerMessage(9, LogLevel.Error, "The reason cannot be written to {Folder}: {Reason}")]
    private partial void LogNoReason(string folder, string reason);

    [LoggerMessage(10, LogLevel.Error, "Round {Round} waits, its folder cannot be listed: {Reason}")]
    private partial void LogPostponed(string round, string reason);
}
