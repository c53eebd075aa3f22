using System.Globalization;
using FedICU;

namespace FolderRounds;

/// <summary>A round's folder in the inbox: what others put there, none of which is trusted.</summary>
internal sealed class RoundFolder(DirectoryInfo folder)
{
    public const string Ready = "ready", Report = "report.json", Refusal = "refusal.txt", Extension = ".safetensors";

    // the decoder's mark for bytes that are not UTF-8
    private const char NotUnicode = '\ufffd';

    // a sentence shows no longer a name
    private const int LongestName = 100;

    // names of the worker's own files, and of those that earlier versions had
    private static readonly string[] ReservedNames = [Report, Refusal, "base"];

    private readonly FileSystemInfo[] _entries = folder.LinkTarget is null ? folder.GetFileSystemInfos() : [];

    public string Name => folder.Name;

    public string FullName => folder.FullName;

    /// <summary>Whether the folder is a symbolic link, which is not followed.</summary>
    public bool IsLink => folder.LinkTarget is not null;

    public bool HasReady => _entries.Any(entry => entry.Name == Ready);

    /// <summary>
    /// The number of the round, null where the folder's name is not a whole number as it is usually written: 7, not 007 or +7.
    /// </summary>
    public long? Number => NumberOf(Name);

    public static long? NumberOf(string? text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number.ToString(CultureInfo.InvariantCulture) == text
            ? number
            : null;

    /// <summary>Why the folder is no round, in a sentence; null where it may be one.</summary>
    public string? DescribeFault()
    {
        if (IsLink)
            return $"The round's folder '{Shown(Name)}' is a symbolic link; a folder was expected.";
        if (Number is null)
            return $"The round's folder is named '{Shown(Name)}'; a whole number such as 7 was expected.";
        if (_entries.FirstOrDefault(entry => ReservedNames.Contains(entry.Name, StringComparer.OrdinalIgnoreCase)) is { } reserved)
            return $"The round's folder holds '{Shown(reserved.Name)}', a name that is reserved for the worker; only updates and 'ready' were expected.";
        FileSystemInfo? ready = _entries.FirstOrDefault(entry => entry.Name == Ready);
        return ready is DirectoryInfo || ready?.LinkTarget is not null
            ? $"The round's '{Ready}' is a {(ready.LinkTarget is null ? "folder" : "symbolic link")}; a file was expected."
            : null;
    }

    /// <summary>The clients' updates in the order of their names.</summary>
    public ClientUpdate[] Updates()
    {
        var ids = new HashSet<string>(StringComparer.Ordinal);
        return [.. Uploads().Select(entry =>
        {
            string name = entry.Name[..^Extension.Length], id = name;
            // names that are not UTF-8 may read the same
            for (int i = 2; !ids.Add(id); i++)
                id = string.Create(CultureInfo.InvariantCulture, $"{name} ({i})");
            return ReasonNotToRead(entry) is { } reason
                ? ClientUpdate.FromTensors(id, new RefusedUpload(Path.Combine(Name, Shown(entry.Name)), reason))
                : ClientUpdate.FromFile(id, entry.FullName);
        })];
    }

    /// <summary>What changes when an upload comes or grows; and how many uploads there are.</summary>
    public (string Stamp, int Count) Stamp()
    {
        FileSystemInfo[] uploads = Uploads();
        IEnumerable<string> stamps = uploads.Select(entry => entry is FileInfo { LinkTarget: null, Exists: true } file
            ? string.Create(CultureInfo.InvariantCulture, $"{file.Name}/{file.Length}/{file.LastWriteTimeUtc.Ticks}")
            : entry.Name);
        return (string.Join('/', stamps), uploads.Length);
    }

    /// <summary>A name as sentences and logs show it: control characters escaped, long ones cut.</summary>
    public static string Shown(string name)
    {
        string cut = name.Length > LongestName ? name[..LongestName] + "..." : name;
        return string.Concat(cut.Select(c => IsPlain(c) ? c.ToString() : string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}")));

        static bool IsPlain(char c) => !char.IsControl(c) && !char.IsSurrogate(c) &&
            char.GetUnicodeCategory(c) is not (UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
    }

    // what begins with a dot is on its way: uploads are written so, then renamed
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
