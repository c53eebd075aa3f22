using System.Formats.Tar;

namespace FedICU.Safetensors;

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
    public static string? Obstacle(string path)
    {
        if (FileAbove(path) is { } file)
            return $"'{file}' is a file, expected a folder";
        string folder = Path.GetDirectoryName(Real(path)) ?? "";
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
