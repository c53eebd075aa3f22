using FedICU.Files;

namespace FedICU.Fedn;

/// <summary>Folders that other users of the machine can neither read nor change, because models are in them.</summary>
internal static class PrivateFolder
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Creates a folder with the mode 0700. An existing one is left as it is.</summary>
    public static void Create(string path)
    {
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(path);
        else
            Directory.CreateDirectory(path, OwnerOnly);
    }

    /// <summary>
    /// Creates a folder or checks an existing one. On Windows only the check for a link is made: folders there inherit
    /// their access rules.
    /// </summary>
    /// <param name="path">The folder.</param>
    /// <param name="name">What the folder is, at the start of a sentence.</param>
    /// <exception cref="FedIcuException">
    /// The folder is a symbolic link, belongs to another user, has another mode than 0700, or cannot be written.
    /// </exception>
    public static void Open(string path, string name)
    {
        try
        {
            var folder = new DirectoryInfo(Path.TrimEndingDirectorySeparator(path));
            RefuseLink(folder, path, name);
            Create(path);
            // again: another user may have made a link while there was nothing
            folder.Refresh();
            RefuseLink(folder, path, name);
            if (OperatingSystem.IsWindows())
                return;
            UnixFileMode mode = folder.UnixFileMode;
            if (mode != OwnerOnly)
            {
                throw new FedIcuException(
                    $"{name} '{path}' has the mode {Convert.ToString((int)mode, 8).PadLeft(4, '0')}; 0700 was expected, " +
                    $"as 'chmod 700 {path}' sets it.");
            }

            string probe = Path.Combine(path, $"probe-{Guid.NewGuid():n}");
            File.WriteAllBytes(probe, []);
            try
            {
                (int owner, int user) = (FilePlace.Describe(path)!.Uid, FilePlace.Describe(probe)!.Uid);
                if (owner != user)
                    throw new FedIcuException($"{name} '{path}' belongs to the user {owner}; the service's user {user} was expected.");
            }
            finally
            {
                File.Delete(probe);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException($"{name} '{path}' cannot be written: {FileFailure.Describe(e)}.", e);
        }
    }

    private static void RefuseLink(DirectoryInfo folder, string path, string name)
    {
        if (folder.LinkTarget is not null)
            throw new FedIcuException($"{name} '{path}' is a symbolic link; a folder was expected.");
    }
}
