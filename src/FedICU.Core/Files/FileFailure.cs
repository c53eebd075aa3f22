namespace FedICU.Files;

/// <summary>Failures of the file system in words: the platform's own messages hold paths, temporary ones too, and differ from system to system.</summary>
internal static class FileFailure
{
    // HResult is errno on Unix and the error code below 0x80070000 on Windows
    private const int Windows = unchecked((int)0x80070000);

    /// <summary>Why a file could not be opened, read or written: <c>permission denied</c>.</summary>
    public static string Describe(Exception e) => e switch
    {
        UnauthorizedAccessException => "permission denied",
        FileNotFoundException or DirectoryNotFoundException => "there is no such file or folder",
        PathTooLongException => "the name is too long",
        IOException { HResult: 28 or Windows + 0x70 or Windows + 0x27 } => "the disk is full",
        _ when IsTooLarge(e) => "files may not be that large here (ulimit -f, or the file system)",
        IOException { HResult: 24 or 23 } => "too many files are open (ulimit -n)",
        IOException { HResult: 122 } => "the disk quota is used up",
        IOException { HResult: 30 or Windows + 0x13 } => "the file system is read-only",
        IOException { HResult: 32 or Windows + 0x6d or Windows + 0xe8 } => "its reader has closed it",
        IOException { HResult: 5 } => "the device reports an error",
        _ => WithoutPath(e.Message),
    };

    /// <summary>Whether a file grew beyond what the process or the file system allows, which .NET reports as a wrong argument.</summary>
    public static bool IsTooLarge(Exception e) => e is IOException { HResult: 27 } or ArgumentOutOfRangeException { ParamName: "value" };

    private static string WithoutPath(string message)
    {
        int start = message.IndexOf('\''), end = message.LastIndexOf('\'');
        string words = (start < end ? message[..start].TrimEnd(' ', ':') + message[(end + 1)..] : message).TrimEnd('.');
        return words.Length == 0 ? "the system gives no reason" : char.ToLowerInvariant(words[0]) + words[1..];
    }
}
