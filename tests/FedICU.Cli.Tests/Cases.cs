namespace FedICU.Cli.Tests;

/// <summary>
/// The recreated inputs of public bug reports in shared/cases, beside the checkout, if they are present.
/// </summary>
internal static class Cases
{
    // bytes that a file with a link's target does not reach; chosen
    private const int LongestLink = 200;

    /// <summary>
    /// Copies a case to a writable folder. Text files that contain links to blobs become symbolic links again.
    /// </summary>
    public static void Copy(string name, string to)
    {
        string? from = Ancestors.Find(Path.Combine("shared", "cases", name));
        if (from is null)
            Assert.Ignore("the cases (shared/cases beside the checkout) are not here");
        foreach (string file in Directory.EnumerateFiles(from!, "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(to, Path.GetRelativePath(from!, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            string text = new FileInfo(file).Length < LongestLink ? File.ReadAllText(file) : "";
            if (text.StartsWith("../../blobs/", StringComparison.Ordinal))
                File.CreateSymbolicLink(copy, text);
            else
                File.WriteAllBytes(copy, File.ReadAllBytes(file));
        }
    }
}
