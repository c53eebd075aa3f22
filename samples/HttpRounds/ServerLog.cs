namespace HttpRounds;

/// <summary>What the server logs itself; the rounds have their own messages.</summary>
internal static partial class ServerLog
{
    [LoggerMessage(1, LogLevel.Error, "An update could not be stored.")]
    public static partial void LogNotStored(this ILogger logger, Exception exception);
}
