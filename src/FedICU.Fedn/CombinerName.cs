using System.Security.Cryptography;
using System.Text;

namespace FedICU.Fedn;

/// <summary>
/// The name of a combiner, which is the host and port that it calls, in the names of files and folders.
/// </summary>
internal static class CombinerName
{
    // characters; chosen, far below the 255 bytes of file systems
    private const int Longest = 100;

    /// <summary>Makes a name for a file from a host and port. Their case makes no difference.</summary>
    public static string ToFileName(string authority)
    {
        string name = Uri.EscapeDataString(authority.ToLowerInvariant());
        // a name of dots alone would be another folder
        return name.Length <= Longest && name.Trim('.').Length > 0
            ? name : Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)));
    }
}
