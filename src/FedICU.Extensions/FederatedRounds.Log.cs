using Microsoft.Extensions.Logging;

namespace FedICU.Extensions;

public sealed partial class FederatedRounds
{
    [LoggerMessage(1, LogLevel.Information, "Round {Round} takes updates; {Count} of {Expected} clients have sent one.")]
    private partial void LogOpen(long round, int count, int expected);

    [LoggerMessage(2, LogLevel.Information, "Round {Round}: client {Client} sent its update; {Count} of {Expected} clients have sent one.")]
    private partial void LogAdded(long round, string client, int count, int expected);

    [LoggerMessage(3, LogLevel.Information, "Round {Round}: client {Client} sent its update again.")]
    private partial void LogRepeated(long round, string client);

    [LoggerMessage(4, LogLevel.Warning, "Round {Round}: an update was refused ({Fault}): {Sentence}")]
    private partial void LogRefusedUpdate(long round, RoundFault fault, string sentence);

    [LoggerMessage(5, LogLevel.Warning, "Round {Round} left client {Client} out: {Sentence}")]
    private partial void LogLeftOut(long round, string client, string sentence);

    [LoggerMessage(6, LogLevel.Warning, "Round {Round} was refused and begins again, attempt {Attempt}: {Sentence}")]
    private partial void LogRefused(long round, int attempt, string sentence);

    [LoggerMessage(7, LogLevel.Information, "Round {Round} is over: {Included} of {Clients} clients are in the new global model.")]
    private partial void LogOver(long round, int included, int clients);

    [LoggerMessage(8, LogLevel.Error, "Round {Round} failed and is tried again in {Delay}.")]
    private partial void LogFailed(Exception exception, long round, TimeSpan delay);

    [LoggerMessage(9, LogLevel.Information, "Round {Round} was the last one.")]
    private partial void LogFinished(long round);

    [LoggerMessage(
        10, LogLevel.Information, "Round {Round}, attempt {Attempt}, takes updates; {Count} of {Expected} clients have sent one.")]
    private partial void LogOpenAgain(long round, int attempt, int count, int expected);

    [LoggerMessage(11, LogLevel.Warning, "The report of round {Round} cannot be read, and the round is not listed: {Sentence}")]
    private partial void LogDamagedReport(long round, string sentence);
}
