using System.Net;

namespace FedICU.Fedn;

/// <summary>The messages that the bridge logs.</summary>
internal static partial class FednLog
{
    [LoggerMessage(1, LogLevel.Information, "Strategy {Strategy} with {Settings}, spool {Spool}")]
    public static partial void Started(ILogger logger, string strategy, string settings, string spool);

    [LoggerMessage(2, LogLevel.Information, "{Session}: a round begins")]
    public static partial void RoundBegins(ILogger logger, string session);

    [LoggerMessage(3, LogLevel.Information, "{Session}: stored {Model}, {Bytes} bytes")]
    public static partial void Stored(ILogger logger, string session, string model, long bytes);

    [LoggerMessage(4, LogLevel.Warning, "{Session}: refused: {Reason}")]
    public static partial void Refused(ILogger logger, string session, string reason);

    [LoggerMessage(
        5, LogLevel.Information, "{Session}: {Strategy} made a model of {Included} of {Clients} clients in {Seconds:F3} s, {Bytes} bytes")]
    public static partial void Aggregated(
        ILogger logger, string session, string strategy, int included, int clients, double seconds, long bytes);

    [LoggerMessage(6, LogLevel.Warning, "{Session}: left out: {Reason}")]
    public static partial void LeftOut(ILogger logger, string session, string reason);

    [LoggerMessage(7, LogLevel.Information, "{Session}: the round was aggregated before; its model is sent again")]
    public static partial void SentAgain(ILogger logger, string session);

    [LoggerMessage(8, LogLevel.Error, "{Session}: failed")]
    public static partial void Failed(ILogger logger, string session, Exception exception);

    [LoggerMessage(9, LogLevel.Warning, "{Path} from {Address}: refused: the call does not carry the token")]
    public static partial void Unauthenticated(ILogger logger, string path, IPAddress? address);

    [LoggerMessage(10, LogLevel.Information, "{Session}: goes on with a round of {Clients} clients")]
    public static partial void Restored(ILogger logger, string session, int clients);

    [LoggerMessage(11, LogLevel.Error, "The round in {Folder} does not go on: {Reason}")]
    public static partial void NotRestored(ILogger logger, string folder, string reason);
}
