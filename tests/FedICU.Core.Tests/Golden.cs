namespace FedICU.Tests;

/// <summary>The golden rounds in ../shared/golden beside the checkout, if present.</summary>
internal static partial class Golden
{
    public static string? Folder { get; } = Locate();

    public static string RoundFolder(string round)
    {
        if (Folder is null)
            Assert.Ignore("the golden rounds (shared/golden beside the checkout) are not here");
        return Path.Combine(Folder!, round);
    }

    private static string? Locate()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string golden = Path.Combine(folder.FullName, "shared", "golden");
            if (Directory.Exists(golden))
                return golden;
        }

        return null;
    }
}
