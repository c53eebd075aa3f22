using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;

namespace FedICU.Files;

/// <summary>Resolves paths and tells what kind of file is there.</summary>
internal static class FilePlace
{
    // Links followed in one path before it counts as a loop; the same limit as Linux's.
    private const int MostLinks = 40;

    /// <summary>
    /// Returns the full path with all links followed, even if the last one points to nothing. A loop of links is
    /// returned as it is.
    /// </summary>
    public static string Real(string path)
    {
        int links = 0;
        return Real(Path.GetFullPath(path), ref links);
    }

    /// <summary>As <see cref="Real(string)"/>, for many paths in few folders.</summary>
    /// <param name="path">The path.</param>
    /// <param name="folders">The folders that are already resolved; a new one is added.</param>
    public static string Real(string path, Dictionary<string, string> folders)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        if (Path.GetDirectoryName(full) is not { } parent)
            return full;
        if (!folders.TryGetValue(parent, out string? real))
            folders.Add(parent, real = Real(parent));
        string here = Path.Combine(real, Path.GetFileName(full));
        return Target(here) is null ? here : Real(here);
    }

    /// <summary>
    /// Determines whether a path leads to something that a new file must not replace: a device, a pipe, a socket or a
    /// loop of links. A folder does not count.
    /// </summary>
    public static bool IsSpecial(string path)
    {
        string real = Real(path);
        if (Target(real) is not null)
            return true;
        // Links in /proc to pipes and sockets do not lead to paths.
        if (!Path.Exists(real))
            return real.StartsWith("/proc/", StringComparison.Ordinal) && real != Path.GetFullPath(path);
        // Devices and pipes have length 0.
        if (new FileInfo(real) is not { Exists: true, Length: 0 })
            return false;
        try
        {
            // the tar writer opens regular files only
            return Describe(real)?.EntryType is not TarEntryType.RegularFile;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
        catch (IOException)
        {
            // A tar archive cannot contain a socket.
            return true;
        }
    }

    /// <summary>
    /// Returns the type and the owner of a file or folder, which .NET exposes only through its tar writer. The file
    /// must be empty, because the writer reads it.
    /// </summary>
    public static TarEntry? Describe(string path)
    {
        using var archive = new MemoryStream();
        using (var writer = new TarWriter(archive, TarEntryFormat.Gnu, leaveOpen: true))
            writer.WriteEntry(path, "file");
        archive.Position = 0;
        using var reader = new TarReader(archive);
        return reader.GetNextEntry();
    }

    /// <summary>
    /// Returns the parent of a path that is a file although a folder is needed, or null if there is none.
    /// </summary>
    public static string? FileAbove(string path)
    {
        string? above = Path.GetDirectoryName(path);
        while (!string.IsNullOrEmpty(above) && !File.Exists(Real(above)))
            above = Path.GetDirectoryName(above);
        return string.IsNullOrEmpty(above) ? null : above;
    }

    /// <summary>Describes why a file cannot be created at a path, or returns null if its folder exists.</summary>
    /// <param name="path">The file.</param>
    /// <param name="followLinks">
    /// True to create the file where a link at the path leads; false to replace the link itself.
    /// </param>
    public static string? Obstacle(string path, bool followLinks)
    {
        if (FileAbove(path) is { } file)
            return $"'{file}' is a file, expected a folder";
        string folder = Path.GetDirectoryName(Destination(path, followLinks)) ?? "";
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

    /// <summary>
    /// Returns the full path of the file or link itself: links among its folders are followed, a link at its end is
    /// not.
    /// </summary>
    public static string Entry(string path)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return Path.GetDirectoryName(full) is { } parent ? Path.Combine(Real(parent), Path.GetFileName(full)) : full;
    }

    /// <summary>
    /// Returns the full path that a new file takes: where a link at the path leads, or the link itself.
    /// </summary>
    public static string Destination(string path, bool followLinks) => followLinks ? Real(path) : Entry(path);

    /// <summary>
    /// Returns the path of a hidden file beside another file or folder: <c>.name</c> and an ending. A long name is cut
    /// and gets a checksum.
    /// </summary>
    public static string Hidden(string entry, string ending)
    {
        // Bytes. File names have at most 255 bytes and the longest ending takes 21, so a name of 200 leaves room.
        const int LongestName = 200;

        // characters of a long name that stay readable; chosen
        const int KeptCharacters = 40;
        string name = Path.GetFileName(entry);
        if (Encoding.UTF8.GetByteCount(name) > LongestName)
            name = $"{name[..KeptCharacters]}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)).AsSpan(0, 8))}";
        return Path.Combine(Path.GetDirectoryName(entry) ?? entry, $".{name}{ending}");
    }

    /// <summary>Determines whether a text consists of lower-case hexadecimal digits.</summary>
    public static bool IsHex(ReadOnlySpan<char> text)
    {
        foreach (char digit in text)
        {
            if (!char.IsAsciiHexDigitLower(digit))
                return false;
        }

        return true;
    }

    /// <summary>Removes a file, a link, or a folder with its contents. Does nothing if it cannot be removed.</summary>
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
            // It belongs to another user, or is still open on Windows.
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
            // resolving throws where nothing is, which is slow for many paths
            return new FileInfo(path).LinkTarget is null ? null : File.ResolveLinkTarget(path, returnFinalTarget: false)?.FullName;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nothing is there, or this user may not see it.
            return null;
        }
    }
}
