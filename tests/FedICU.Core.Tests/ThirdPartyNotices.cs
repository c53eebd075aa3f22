using System.Text.Json;

namespace FedICU.Tests;

/// <summary>
/// THIRD-PARTY-NOTICES.txt, which is part of each package and program that contains third-party libraries.
/// </summary>
internal static class ThirdPartyNotices
{
    /// <summary>Returns the file's lines. Each library has a line of its own.</summary>
    public static string[] Lines()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "THIRD-PARTY-NOTICES.txt")))
            folder = folder.Parent;
        return File.ReadAllLines(Path.Combine(folder!.FullName, "THIRD-PARTY-NOTICES.txt"));
    }

    /// <summary>
    /// Returns the packages whose assemblies a program ships, read from the <c>.deps.json</c> beside the tests.
    /// </summary>
    public static string[] PackagesOf(string program)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, program + ".deps.json")));
        JsonElement libraries = document.RootElement.GetProperty("libraries");
        return
        [
            .. document.RootElement.GetProperty("targets").EnumerateObject().SelectMany(target => target.Value.EnumerateObject())
                .Where(library => libraries.GetProperty(library.Name).GetProperty("type").GetString() == "package")
                .Where(library => library.Value.TryGetProperty("runtime", out _) || library.Value.TryGetProperty("runtimeTargets", out _)
                    || library.Value.TryGetProperty("native", out _))
                .Select(library => library.Name.Split('/')[0]),
        ];
    }
}
