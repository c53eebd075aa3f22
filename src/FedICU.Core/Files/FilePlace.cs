using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;

namespace FedICU.Files;

/// <summary>Where a path leads, and what stands there.</summary>
internal static class FilePlace
{
    // as many as Linux follows
    private const int MostLinks = 40;

    /// <summary>The full path with all links followed, the last one too where nothing is behind it yet. A loop of links stays as it is.</summary>
    public static string Real(string path)
    {
        int links = 0;
        return Real(Path.GetFullPath(path), ref links);
    }

    /// <summary>Whether what stands there is none that a new file may replace: a device, a pipe, a socket, a loop of links. A folder is not meant.</summary>
    public static bool IsSpecial(string path)
    {
        string real = Real(path);
        if (Target(real) is not null)
            return true;
        // the links in /proc to pipes and sockets lead to no path
        if (!Path.Exists(real))
            return real.StartsWith("/proc/", StringComparison.Ordinal) && real != Path.GetFullPath(path);
        // devices and pipes have length 0
        if (new FileInfo(real) is not { Exists: true, Length: 0 })
            return false;
        try
        {
            // .NET tells a file's type to its tar writer alone, which opens none but regular files
            using var archive = new MemoryStream();
            using (var writer = new TarWriter(archive, TarEntryFormat.Gnu, leaveOpen: true))
                writer.WriteEntry(real, "file");
            archive.Position = 0;
            using var reader = new TarReader(archive);
            return reader.GetNextEntry()?.EntryType is not TarEntryType.RegularFile;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
        catch (IOException)
        {
            // sockets have no place in an archive
            return true;
        }
    }

    /// <summary>The part of a path that is a file where a folder would be needed; null where there is none.</summary>
    public static string? FileAbove(string path)
    {
        string? above = Path.GetDirectoryName(path);
        while (!string.IsNullOrEmpty(above) && !File.Exists(Real(above)))
            above = Path.GetDirectoryName(above);
        return string.IsNullOrEmpty(above) ? null : above;
    }

    /// <summary>Why a file cannot lie at a path, in words; null where its folder is there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="followLinks">Whether the file lies where the path leads if it is a link, or takes the link's place.</param>
    public static string? Obstacle(string path, bool followLinks)
    {
        if (FileAbove(path) is { } file)
            return $"'{file}' is a file, expected a folder";
        string folder = Path.GetDirectoryName(followLinks ? Real(path) : Entry(path)) ?? "";
        try
        {
            _ = File.GetAttributes(folder);
            return null;
        }
        catch (UnauthorizedAccessException)
        {
            return $"the folder '{folder}' cannot be entered: permission denied";
        }
        catch (IOException)
        {
            return $"the folder '{folder}' does not exist";
        }
    }

    /// <summary>Where the file or link at a path itself lies: the full path with the links of its folders followed, not its own.</summary>
    public static string Entry(string path)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return Path.GetDirectoryName(full) is { } parent ? Path.Combine(Real(parent), Path.GetFileName(full)) : full;
    }

    /// <summary>
    /// A hidden neighbour of a file or folder: <c>.name</c> and an ending. Of a long name a part and a checksum stand there.
    /// </summary>
    public static string Hidden(string entry, string ending)
    {
        // file names have at most 255 bytes; the longest ending takes 21
        const int LongestName = 200, Kept = 40;
        string name = Path.GetFileName(entry);
        if (Encoding.UTF8.GetByteCount(name) > LongestName)
            name = $"{name[..Kept]}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)).AsSpan(0, 8))}";
        return Path.Combine(Path.GetDirectoryName(entry) ?? entry, $".{name}{ending}");
    }

    /// <summary>Whether a text is lower-case hexadecimal digits alone.</summary>
    public static bool IsHex(ReadOnlySpan<char> text)
    {
        foreach (char digit in text)
        {
            if (!char.IsAsciiHexDigitLower(digit))
                return false;
        }

        return true;
    }

    /// <summary>Removes a file, a link, or a folder with all it holds; what cannot be removed stays.</summary>
    public static void Remove(string path)
    {
        try
        {
            if (Directory.Exists(path) && new DirectoryInfo(path).LinkTarget is null)
                Directory.Delete(path, recursive: true);
            else
                File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // another user's, or still open on Windows
        }
    }

    private static string Real(string full, ref int links)
    {
        full = Path.TrimEndingDirectorySeparator(full);
        if (Path.GetDirectoryName(full) is not { } parent)
            return full;
        string here = Path.Combine(Real(parent, ref links), Path.GetFileName(full));
        return Target(here) is { } target && links++ < MostLinks ? Real(target, ref links) : here;
    }

    private static string? Target(string path)
    {
        try
        {
            return File.ResolveLinkTarget(path, returnFinalTarget: false)?.FullName;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // nothing is there, or it is not ours to see
            return null;
        }
    }
}
