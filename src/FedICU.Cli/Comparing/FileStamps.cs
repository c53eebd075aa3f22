using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FedICU.Files;

namespace FedICU.Cli.Comparing;

/// <summary>
/// Tells whether files have changed, by their sizes and times of change: the digests of large models would take as long
/// as the rounds.
/// </summary>
internal static class FileStamps
{
    /// <summary>Describes the files of models, and other files, in a short text.</summary>
    public static string Of(IEnumerable<string> paths, string extra = "")
    {
        var text = new StringBuilder(extra);
        foreach (string path in paths)
        {
            foreach (FileInfo file in ModelFolder.ListFiles(path).Select(path => new FileInfo(path)).Where(file => file.Exists))
                text.Append(CultureInfo.InvariantCulture, $"\n{file.FullName}|{file.Length}|{file.LastWriteTimeUtc.Ticks}");
        }

        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }
}
