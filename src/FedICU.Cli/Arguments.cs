using System.Text;
using FedICU.Text;

namespace FedICU.Cli;

/// <summary>
/// Names that are not UTF-8: .NET decodes their bytes as U+FFFD, and a path with it leads to another file. Such names are refused.
/// </summary>
internal static class Arguments
{
    private const char Replacement = '\ufffd';

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    /// <summary>Refuses a command line or a current folder whose bytes are not UTF-8.</summary>
    /// <exception cref="RefusedException">There is one; the message quotes it.</exception>
    public static void RefuseUndecodable(string[] args)
    {
        // Windows has names in UTF-16, which are not decoded
        if (OperatingSystem.IsWindows())
            return;
        int at = Array.FindIndex(args, arg => arg.Contains(Replacement));
        if (at >= 0)
        {
            string?[] typed = ReadTyped();
            for (; at < args.Length; at++)
            {
                // a name that holds U+FFFD itself is a name like others
                if (args[at].Contains(Replacement) && typed.ElementAtOrDefault(typed.Length - args.Length + at) != args[at])
                {
                    throw new RefusedException(
                        $"{Sentence.Quote(args[at])} holds bytes that are not UTF-8: another file would be read or written; rename the file.");
                }
            }
        }

        string folder = Environment.CurrentDirectory;
        if (folder.Contains(Replacement) && !Directory.Exists(folder))
        {
            throw new RefusedException(
                $"The name of the current folder {Sentence.Quote(folder)} holds bytes that are not UTF-8; rename the folder, or start in another.");
        }
    }

    /// <summary>The process's arguments from the system, null where one is not UTF-8; none where the system does not tell them.</summary>
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
