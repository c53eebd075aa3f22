namespace FedICU.Cli.Tests;

/// <summary>Finds files and folders beside or above the tests' binaries, such as those of the repository.</summary>
internal static class Ancestors
{
    /// <summary>Finds a relative path in the nearest parent folder that has it; null if none has it.</summary>
    public static string? Find(string relativePath)
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string path = Path.Combine(folder.FullName, relativePath);
            if (Path.Exists(path))
                return path;
        }

        return null;
    }
}
