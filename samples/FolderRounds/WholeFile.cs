using System.Globalization;

namespace FolderRounds;

/// <summary>Replaces small files atomically, and finds free names.</summary>
internal static class WholeFile
{
    /// <summary>
    /// Writes a file under a temporary name, flushes it and renames it. A link of the final name is replaced and not
    /// followed. A folder of that name is renamed.
    /// </summary>
    public static void Write(string folder, string name, byte[] bytes)
    {
        string place = Path.Combine(folder, name), temporary = Path.Combine(folder, $".{name}.{Guid.NewGuid():n}.tmp");
        if (new DirectoryInfo(place) is { Exists: true, LinkTarget: null })
            Directory.Move(place, FreePlace(folder, name));
        try
        {
            using (var file = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write))
            {
                file.Write(bytes);
                file.Flush(flushToDisk: true);
            }

            File.Move(temporary, place, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Removes the temporary files of a killed process's <see cref="Write"/>.</summary>
    public static void Sweep(string folder, string name)
    {
        foreach (string temporary in Directory.GetFiles(folder, $".{name}.*.tmp"))
            File.Delete(temporary);
    }

    /// <summary>Finds a path that does not exist: 9, otherwise 9.2, 9.3 ...</summary>
    public static string FreePlace(string folder, string name)
    {
        string place = Path.Combine(folder, name);
        for (int i = 2; Path.Exists(place); i++)
            place = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{name}.{i}"));
        return place;
    }
}
