using Microsoft.Extensions.Logging;

namespace FolderRounds;

internal sealed partial class FolderWorker
{
    [LoggerMessage(1, LogLevel.Information, "Watching {Folder}, strategy {Strategy}.")]
    private partial void LogWatching(string folder, string strategy);

    [LoggerMessage(2, LogLevel.Information, "Round {Round}: {Included} of {Clients} clients are in the new global model.")]
    private partial void LogAggregated(string round, int included, int clients);

    [LoggerMessage(3, LogLevel.Information, "Round {Round} was complete when the worker ended; its folder moves to done now.")]
    private partial void LogFinished(string round);

    [LoggerMessage(4, LogLevel.Warning, "Round {Round} was refused: {Sentence}")]
    private partial void LogRefused(string round, string sentence);

    [LoggerMessage(5, LogLevel.Error, "All rounds wait: {Sentence}")]
    private partial void LogRoundsWait(string sentence);

    [LoggerMessage(6, LogLevel.Error, "Round {Round} failed unexpectedly.")]
    private partial void LogFailed(Exception exception, string round);

    [LoggerMessage(7, LogLevel.Error, "Round {Round} was refused and cannot be moved to failed: {Sentence} {Reason}")]
    private partial void LogNotMovedToFailed(string round, string sentence, string reason);

    [LoggerMessage(8, LogLevel.Error, "Round {Round} is in the global model, but its folder cannot be moved: {Reason}")]
    private partial void LogNotMoved(string round, string reason);

    [LoggerMessage(9, LogLevel.Error, "The reason cannot be written to {Folder}: {Reason}")]
    private partial void LogReasonNotWritten(string folder, string reason);

    [LoggerMessage(10, LogLevel.Error, "Round {Round} waits because its folder cannot be listed: {Reason}")]
    private partial void LogNotListed(string round, string reason);
}
