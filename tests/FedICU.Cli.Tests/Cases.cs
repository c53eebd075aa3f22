namespace FedICU.Cli.Tests;

/// <summary>Remade inputs of bug reports beside the checkout (shared/cases), where present.</summary>
internal static class Cases
{
    /// <summary>Copies a case to a folder that may be written. Links to blobs, which are kept as texts there, become links again.</summary>
    public static void Copy(string name, string to)
    {
        string? from = null;
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null && from is null; folder = folder.Parent)
        {
            string place = Path.Combine(folder.FullName, "shared", "cases", name);
            if (Directory.Exists(place))
                from = place;
        }

        if (from is null)
            Assert.Ignore("the cases (shared/cases beside the checkout) are not here");
        foreach (string file in Directory.EnumerateFiles(from!, "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(to, Path.GetRelativePath(from!, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            string text = new FileInfo(file).Length < 200 ? File.ReadAllText(file) : "";
            if (text.StartsWith("../../blobs/", StringComparison.Ordinal))
                File.CreateSymbolicLink(copy, text);
            else
                File.WriteAllBytes(copy, File.ReadAllBytes(file));
        }
    }
}
