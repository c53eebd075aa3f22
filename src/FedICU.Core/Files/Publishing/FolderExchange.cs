namespace FedICU.Files.Publishing;

/// <summary>Swaps a folder with an adapter for a staged one in one step, and keeps the folder's other files.</summary>
internal static class FolderExchange
{
    /// <summary>
    /// Tries whether the system can swap folders and link files here. If so, the staging folder is left in place.
    /// </summary>
    /// <param name="stage">The path of the staging folder, which does not exist yet.</param>
    /// <param name="file">A file of the folder to swap.</param>
    public static bool TryPrepare(string stage, string file)
    {
        string first = Path.Combine(stage, "first"), second = Path.Combine(stage, "second"), linked = Path.Combine(first, "linked");
        try
        {
            Directory.CreateDirectory(first);
            Directory.CreateDirectory(second);
            if (FolderCalls.TryLink(file, linked) && FolderCalls.TryExchange(first, second))
            {
                Directory.Delete(first, recursive: true);
                Directory.Delete(second, recursive: true);
                return true;
            }
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // This user may not write in the parent folder.
        }

        FilePlace.Remove(stage);
        return false;
    }

    /// <summary>Links the folder's other files into the staging folder, then swaps the two folders.</summary>
    public static void Swap(string stage, string folder)
    {
        LinkFiles(folder, stage, isRoot: true);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(stage, File.GetUnixFileMode(folder));
        if (!FolderCalls.TryExchange(stage, folder))
            throw new IOException("The system did not swap the folders.");
    }

    /// <summary>Moves files that were added to the old folder after <see cref="Swap"/> had listed it.</summary>
    /// <param name="stage">The staging folder, which is the old folder now.</param>
    /// <param name="folder">The folder with the new adapter.</param>
    public static void MoveLateFiles(string stage, string folder)
    {
        foreach (string late in Directory.EnumerateFileSystemEntries(stage).Where(IsForeign))
        {
            string target = Path.Combine(folder, Path.GetFileName(late));
            if (!Path.Exists(target))
                Directory.Move(late, target);
        }
    }

    private static void LinkFiles(string from, string to, bool isRoot)
    {
        foreach (FileSystemInfo item in new DirectoryInfo(from).EnumerateFileSystemInfos())
        {
            if (isRoot && !IsForeign(item.FullName))
                continue;
            string name = Path.Combine(to, item.Name);
            if (item is DirectoryInfo { LinkTarget: null })
            {
                Directory.CreateDirectory(name);
                if (!OperatingSystem.IsWindows())
                    File.SetUnixFileMode(name, item.UnixFileMode);
                LinkFiles(item.FullName, name, isRoot: false);
            }
            else if (!FolderCalls.TryLink(item.FullName, name))
            {
                throw new IOException("A file of the folder cannot be linked into the new folder.");
            }
        }
    }

    /// <summary>Determines whether a file belongs neither to the adapter nor to the writing itself.</summary>
    private static bool IsForeign(string path) =>
        Path.GetFileName(path) is not (ModelFolder.AdapterConfig or ModelFolder.AdapterModel or OutputLock.LockEnding) &&
        !FolderLeftovers.IsStage(Path.GetFileName(path.AsSpan()));
}
