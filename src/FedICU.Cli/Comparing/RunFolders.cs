using System.Security.Cryptography;
using System.Text;

namespace FedICU.Cli.Comparing;

/// <summary>Gives each run of a comparison a folder whose name every file system takes.</summary>
internal sealed class RunFolders
{
    // chosen: leaves room in the 255 bytes of a file name, and in Windows' paths of 260 characters
    private const int LongestName = 80;

    // hexadecimal digits that tell apart names which would be the same folder; chosen
    private const int HashDigits = 10;

    // Windows does not distinguish upper case from lower case, and macOS may not
    private readonly HashSet<string> _taken = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Returns the folder's name: <c>fedicu-tau-0.5</c> for <c>fedicu tau=0.5</c>.</summary>
    public string Name(string run)
    {
        var folder = new StringBuilder();
        bool isReadable = run.Length <= LongestName;
        foreach (char letter in isReadable ? run : run[..LongestName])
        {
            bool isPlain = char.IsAsciiLetterOrDigit(letter) || letter is '.' or '_' or '-' or '+';
            isReadable &= isPlain || letter is ' ' or '=';
            folder.Append(isPlain ? letter : '-');
        }

        // a leading dot hides a folder, Windows drops one at the end, and its devices have names of up to four letters
        string name = folder.ToString();
        isReadable &= name.Length > 0 && !name.StartsWith('.') && !name.EndsWith('.') && !IsDevice(name);
        if (isReadable && _taken.Add(name))
            return name;
        name = $"run-{name.Trim('.')}-{Hash(run)}";
        return _taken.Add(name) ? name : throw new RefusedException($"Two runs are named '{run}'.");
    }

    private static bool IsDevice(string name) =>
        name.Split('.')[0].ToUpperInvariant() is "CON" or "PRN" or "AUX" or "NUL" or ['C', 'O', 'M', _] or ['L', 'P', 'T', _];

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..HashDigits];
}
