using System.Security.Cryptography;
using System.Text;

namespace FedICU.Fedn;

/// <summary>
/// The name of a combiner, which is the host and port that it calls, in the names of files and folders.
/// </summary>
internal static class CombinerName
{
    /// <summary>
    /// A character that the name of no combiner contains, because it is escaped. What follows it in a file's name is no
    /// part of another combiner's name.
    /// </summary>
    public const char Separator = '+';

    // characters; chosen, far below the 255 bytes of file systems
    private const int Longest = 100;

    /// <summary>
    /// Makes a name for a file from a host and port. Only those that differ in case alone have the same name.
    /// </summary>
    public static string ToFileName(string authority)
    {
        string name = Uri.EscapeDataString(authority.ToLowerInvariant());
        // a name of dots alone would be another folder
        return name.Length <= Longest && name.Trim('.').Length > 0
            ? name : Separator + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)));
    }
}
