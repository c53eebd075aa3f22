namespace FedICU.Files;

/// <summary>
/// Describes file system failures. The platform's own messages contain paths, including temporary ones, and differ
/// between systems.
/// </summary>
internal static class FileFailure
{
    // HResult is errno on Unix. On Windows it is this value plus the system's error code.
    private const int WindowsBase = unchecked((int)0x80070000);

    /// <summary>
    /// Describes why a file could not be opened, read or written, for example <c>permission denied</c>.
    /// </summary>
    public static string Describe(Exception e) => e switch
    {
        UnauthorizedAccessException => "permission denied",
        FileNotFoundException or DirectoryNotFoundException => "there is no such file or folder",
        PathTooLongException => "the name is too long",
        IOException { HResult: 28 or WindowsBase + 0x70 or WindowsBase + 0x27 } => "the disk is full",
        _ when IsTooLarge(e) => "the file is too large for the process or the file system (ulimit -f)",
        IOException { HResult: 24 or 23 } => "too many files are open (ulimit -n)",
        IOException { HResult: 122 } => "the disk quota is used up",
        IOException { HResult: 30 or WindowsBase + 0x13 } => "the file system is read-only",
        IOException { HResult: 32 or WindowsBase + 0x6d or WindowsBase + 0xe8 } => "the reader closed the pipe",
        IOException { HResult: 5 } => "the device reports an error",
        _ => WithoutPath(e.Message),
    };

    /// <summary>
    /// Determines whether a file grew beyond a limit of the process or the file system. .NET reports this as an invalid
    /// argument.
    /// </summary>
    public static bool IsTooLarge(Exception e) =>
        e is IOException { HResult: 27 } or ArgumentOutOfRangeException { ParamName: "value" };

    private static string WithoutPath(string message)
    {
        int start = message.IndexOf('\''), end = message.LastIndexOf('\'');
        string words = (start < end ? message[..start].TrimEnd(' ', ':') + message[(end + 1)..] : message).TrimEnd('.');
        return words.Length == 0 ? "the system gives no reason" : char.ToLowerInvariant(words[0]) + words[1..];
    }
}
