using System.Globalization;
using FedICU;

namespace FolderRounds;

/// <summary>A round's folder in the inbox. Its contents come from clients and are not trusted.</summary>
internal sealed class RoundFolder(DirectoryInfo folder)
{
    /// <summary>The file that marks a round as ready.</summary>
    public const string Ready = "ready";

    /// <summary>The file that receives the round's report.</summary>
    public const string Report = "report.json";

    /// <summary>The file that receives the reason of a refusal.</summary>
    public const string Refusal = "refusal.txt";

    /// <summary>The extension of an update's file.</summary>
    public const string Extension = ".safetensors";

    // the character that .NET's decoder puts in place of bytes that are not UTF-8
    private const char NotUnicode = '\ufffd';

    // characters of the longest name in a message; longer names are truncated; chosen
    private const int LongestName = 100;

    // names of files that the worker writes, or that earlier versions wrote
    private static readonly string[] ReservedNames = [Report, Refusal, "base"];

    private readonly FileSystemInfo[] _entries = folder.LinkTarget is null ? folder.GetFileSystemInfos() : [];

    public string Name => folder.Name;

    public string FullName => folder.FullName;

    /// <summary>Whether the folder is a symbolic link, which is not followed.</summary>
    public bool IsLink => folder.LinkTarget is not null;

    public bool HasReady => _entries.Any(entry => entry.Name == Ready);

    /// <summary>
    /// The round's number; null if the folder's name is not a whole number in its usual form: 7, not 007 or +7.
    /// </summary>
    public long? Number => NumberOf(Name);

    public static long? NumberOf(string? text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) &&
        number.ToString(CultureInfo.InvariantCulture) == text
            ? number
            : null;

    /// <summary>Describes in a sentence why the folder is not a valid round; null if it is one.</summary>
    public string? DescribeFault()
    {
        if (IsLink)
            return $"The round's folder '{Escape(Name)}' is a symbolic link; a folder was expected.";
        if (Number is null)
            return $"The round's folder is named '{Escape(Name)}'; a whole number such as 7 was expected.";
        if (_entries.FirstOrDefault(entry => ReservedNames.Contains(entry.Name, StringComparer.OrdinalIgnoreCase)) is { } reserved)
        {
            return $"The round's folder holds '{Escape(reserved.Name)}', a name that is reserved for the worker; " +
                "only updates and 'ready' were expected.";
        }

        FileSystemInfo? ready = _entries.FirstOrDefault(entry => entry.Name == Ready);
        return ready is DirectoryInfo || ready?.LinkTarget is not null
            ? $"The round's '{Ready}' is a {(ready.LinkTarget is null ? "folder" : "symbolic link")}; a file was expected."
            : null;
    }

    /// <summary>Lists the clients' updates in the order of their names.</summary>
    public ClientUpdate[] Updates()
    {
        var ids = new HashSet<string>(StringComparer.Ordinal);
        return [.. Uploads().Select(entry =>
        {
            string name = entry.Name[..^Extension.Length], id = name;
            // different names that are not UTF-8 may decode to the same text
            for (int i = 2; !ids.Add(id); i++)
                id = string.Create(CultureInfo.InvariantCulture, $"{name} ({i})");
            return ReasonNotToRead(entry) is { } reason
                ? ClientUpdate.FromTensors(id, new RefusedUpload(Path.Combine(Name, Escape(entry.Name)), reason))
                : ClientUpdate.FromFile(id, entry.FullName);
        })];
    }

    /// <summary>Returns a text that changes when an upload arrives or grows, and the number of uploads.</summary>
    public (string Stamp, int Count) DescribeUploads()
    {
        FileSystemInfo[] uploads = Uploads();
        IEnumerable<string> stamps = uploads.Select(entry => entry is FileInfo { LinkTarget: null, Exists: true } file
            ? string.Create(CultureInfo.InvariantCulture, $"{file.Name}/{file.Length}/{file.LastWriteTimeUtc.Ticks}")
            : entry.Name);
        return (string.Join('/', stamps), uploads.Length);
    }

    /// <summary>Prepares a name for messages and logs: escapes control characters and truncates a long name.</summary>
    public static string Escape(string name)
    {
        string cut = name.Length > LongestName ? name[..LongestName] + "..." : name;
        return string.Concat(cut.Select(c => IsPlain(c) ? c.ToString() : string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}")));

        static bool IsPlain(char c) => !char.IsControl(c) && !char.IsSurrogate(c) && char.GetUnicodeCategory(c)
            is not (UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
    }

    // a name that begins with a dot is an unfinished upload, which is renamed when complete
    private FileSystemInfo[] Uploads() =>
        [.. _entries.Where(entry => entry.Name.EndsWith(Extension, StringComparison.Ordinal) && !entry.Name.StartsWith('.'))
            .OrderBy(entry => entry.Name, StringComparer.Ordinal)];

    private static string? ReasonNotToRead(FileSystemInfo entry)
    {
        if (entry.LinkTarget is not null)
            return "is a symbolic link; a file was expected.";
        if (entry is DirectoryInfo)
            return "is a folder; a file was expected.";
        return entry.Name.Contains(NotUnicode) ? "has a name that is not UTF-8; a name that can be written was expected." : null;
    }
}
