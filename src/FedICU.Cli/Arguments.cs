using System.Text;
using FedICU.Text;

namespace FedICU.Cli;

/// <summary>
/// Refuses names that are not UTF-8. .NET decodes their invalid bytes as U+FFFD, and a path with U+FFFD leads to
/// another file.
/// </summary>
internal static class Arguments
{
    private const char Replacement = '\ufffd';

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    /// <summary>Refuses a command line or a current folder whose bytes are not UTF-8.</summary>
    /// <exception cref="RefusedException">
    /// An argument or the current folder is not UTF-8; the message quotes it.
    /// </exception>
    public static void RefuseUndecodable(string[] args)
    {
        // Windows passes names as UTF-16: nothing is decoded
        if (OperatingSystem.IsWindows())
            return;
        int at = Array.FindIndex(args, arg => arg.Contains(Replacement));
        if (at >= 0)
        {
            string?[] typed = ReadTyped();
            for (; at < args.Length; at++)
            {
                // a name may legitimately contain U+FFFD itself
                if (args[at].Contains(Replacement) && typed.ElementAtOrDefault(typed.Length - args.Length + at) != args[at])
                {
                    throw new RefusedException(
                        $"{Sentence.Quote(args[at])} holds bytes that are not UTF-8, and would lead to another file; rename the file.");
                }
            }
        }

        string folder = Environment.CurrentDirectory;
        if (folder.Contains(Replacement) && !Directory.Exists(folder))
        {
            throw new RefusedException(
                $"The name of the current folder {Sentence.Quote(folder)} holds bytes that are not UTF-8; " +
                "rename the folder, or start in another one.");
        }
    }

    /// <summary>
    /// Reads the process's arguments from the operating system. An argument that is not UTF-8 is null. The array is
    /// empty if the system does not provide the arguments.
    /// </summary>
    private static string?[] ReadTyped()
    {
        try
        {
            byte[] line = File.ReadAllBytes("/proc/self/cmdline");
            var typed = new List<string?>();
            for (int start = 0; start < line.Length;)
            {
                int length = line.AsSpan(start).IndexOf((byte)0);
                length = length < 0 ? line.Length - start : length;
                typed.Add(Decode(line.AsSpan(start, length)));
                start += length + 1;
            }

            return [.. typed];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static string? Decode(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }
}
