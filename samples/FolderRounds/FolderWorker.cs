using System.Globalization;
using FedICU;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FolderRounds;

/// <summary>
/// Watches a folder for rounds. <c>inbox/7/</c> fills with clients' updates (<c>client.safetensors</c>); when it holds a file <c>ready</c>, or a quorum and a quiet time are
/// set and reached, the updates are aggregated over the global model, which is replaced, and the folder goes to <c>done/</c> with its report. A round that is refused
/// goes to <c>failed/</c> with a sentence; the global model stays as it was.
/// </summary>
internal sealed partial class FolderWorker(
    IAggregator aggregator, RoundOptions roundOptions, IOptions<FolderOptions> options, TimeProvider clock, ILogger<FolderWorker> logger) : BackgroundService
{
    // what a round's folder holds besides updates; its base is written when it begins, so that after a crash it is known whether it was over
    private const string Ready = "ready", Base = "base", Report = "report.json", Refusal = "refusal.txt";

    private readonly FolderOptions _options = options.Value;
    private readonly string _global = Path.Combine(options.Value.Path, options.Value.Global);
    private readonly string _inbox = Path.Combine(options.Value.Path, "inbox"), _done = Path.Combine(options.Value.Path, "done"), _failed = Path.Combine(options.Value.Path, "failed");
    private readonly Dictionary<string, (string Files, long Since)> _seen = [];
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

    /// <summary>Looks once, and aggregates all rounds that are ready.</summary>
    internal async Task ScanAsync(CancellationToken cancellationToken)
    {
        try
        {
            DirectoryInfo[] rounds = new DirectoryInfo(_inbox).GetDirectories();
            foreach (string gone in _seen.Keys.Except(rounds.Select(round => round.Name)).ToList())
                _seen.Remove(gone);
            // one that a crash cut short comes first: while the global model is the one it began with or made, it can be told which
            foreach (DirectoryInfo round in rounds.OrderByDescending(IsBegun).ThenBy(round => Number(round.Name) ?? long.MaxValue))
            {
                if (IsBegun(round) || IsReady(round))
                    await AggregateAsync(round, cancellationToken);
            }

            _trouble = null;
        }
        catch (Exception e) when (e is FedIcuException or IOException or UnauthorizedAccessException)
        {
            // the global model or the disk is at fault, not the round: it waits, and so do those after it
            if (_trouble != e.Message)
                LogTrouble(e.Message);
            _trouble = e.Message;
        }
    }

    /// <summary>Makes the folders; the lock keeps a second worker out, which would aggregate the same rounds.</summary>
    private FileStream Enter()
    {
        foreach (string folder in (string[])[_inbox, _done, _failed])
            Directory.CreateDirectory(folder);
        try
        {
            return new FileStream(Path.Combine(_options.Path, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new FedIcuException($"The folder '{_options.Path}' cannot be watched; another worker may have it: {e.Message}", e);
        }
    }

    private async Task AggregateAsync(DirectoryInfo round, CancellationToken cancellationToken)
    {
        string marker = Path.Combine(round.FullName, Base), done = Path.Combine(_done, round.Name);
        try
        {
            if (Number(round.Name) is not { } number)
                throw new RoundRejectedException(RoundFault.Round, $"The round's folder is named '{round.Name}'; a whole number was expected.");
            if (Directory.Exists(done))
                throw new RoundRejectedException(RoundFault.Round, $"Round {number} is done already.");
            using (TensorSource global = TensorSource.Open(_global))
            {
                string digest = ModelDigest.Compute(global, cancellationToken);
                bool over = IsBegun(round) && await File.ReadAllTextAsync(marker, cancellationToken) != digest && Number(global.Metadata.GetValueOrDefault(MetadataKeys.Round)) == number;
                if (!over)
                {
                    WriteWhole(marker, digest);
                    var updates = new AggregationRound(global, roundOptions with { Round = number });
                    foreach (FileInfo file in Updates(round))
                        updates.Add(ClientUpdate.FromFile(Path.GetFileNameWithoutExtension(file.Name), file.FullName));
                    AggregationResult result = await aggregator.AggregateAsync(updates, TensorSink.ToFile(_global), cancellationToken);
                    WriteWhole(Path.Combine(round.FullName, Report), result.Report.ToJson());
                    LogAggregated(number, result.Report.Clients.Count(client => client.Included), result.Report.Clients.Count);
                }
                else
                {
                    LogFound(number);
                }
            }

            Directory.Move(round.FullName, done);
        }
        catch (RoundRejectedException e)
        {
            WriteWhole(Path.Combine(round.FullName, Refusal), e.Message + "\n");
            File.Delete(marker);
            Directory.Move(round.FullName, FreePlace(_failed, round.Name));
            LogRefused(round.Name, e.Message);
        }
    }

    private bool IsReady(DirectoryInfo round)
    {
        if (File.Exists(Path.Combine(round.FullName, Ready)))
            return true;
        if (roundOptions.Quorum is not { } quorum || _options.QuietTime is not { } quiet)
            return false;
        FileInfo[] updates = Updates(round);
        string files = string.Join('/', updates.Select(file => string.Create(CultureInfo.InvariantCulture, $"{file.Name}/{file.Length}/{file.LastWriteTimeUtc.Ticks}")));
        // the clock of this process: uploads bring times of their own
        if (_seen.TryGetValue(round.Name, out (string Files, long Since) seen) && seen.Files == files)
            return updates.Length >= quorum && clock.GetElapsedTime(seen.Since) >= quiet;
        _seen[round.Name] = (files, clock.GetTimestamp());
        return false;
    }

    private static bool IsBegun(DirectoryInfo round) => File.Exists(Path.Combine(round.FullName, Base));

    // what begins with a dot is on its way: uploads are written so, then renamed
    private static FileInfo[] Updates(DirectoryInfo round) =>
        [.. round.GetFiles("*.safetensors").Where(file => !file.Name.StartsWith('.')).OrderBy(file => file.Name, StringComparer.Ordinal)];

    private static long? Number(string? text) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    private static string FreePlace(string folder, string name)
    {
        string place = Path.Combine(folder, name);
        for (int i = 2; Path.Exists(place); i++)
            place = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{name}.{i}"));
        return place;
    }

    private static void WriteWhole(string path, string text)
    {
        File.WriteAllText(path + ".tmp", text);
        File.Move(path + ".tmp", path, overwrite: true);
    }

    [LoggerMessage(1, LogLevel.Information, "Watching {Folder}, strategy {Strategy}.")]
    private partial void LogWatching(string folder, string strategy);

    [LoggerMessage(2, LogLevel.Information, "Round {Round}: {Included} of {Clients} clients are in the new global model.")]
    private partial void LogAggregated(long round, int included, int clients);

    [LoggerMessage(3, LogLevel.Information, "Round {Round} was over when the worker ended; its folder is put away now.")]
    private partial void LogFound(long round);

    [LoggerMessage(4, LogLevel.Warning, "Round {Round} was refused: {Sentence}")]
    private partial void LogRefused(string round, string sentence);

    [LoggerMessage(5, LogLevel.Error, "Rounds wait: {Sentence}")]
    private partial void LogTrouble(string sentence);
}
