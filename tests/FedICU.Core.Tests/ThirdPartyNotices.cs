using System.Text.Json;

namespace FedICU.Tests;

/// <summary>THIRD-PARTY-NOTICES.txt, which goes into each package and program that contains libraries of others.</summary>
internal static class ThirdPartyNotices
{
    /// <summary>The file's lines; libraries stand on lines of their own.</summary>
    public static string[] Lines()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "THIRD-PARTY-NOTICES.txt")))
            folder = folder.Parent;
        return File.ReadAllLines(Path.Combine(folder!.FullName, "THIRD-PARTY-NOTICES.txt"));
    }

    /// <summary>The packages whose assemblies a program ships, from the <c>.deps.json</c> beside the tests.</summary>
    public static string[] PackagesOf(string program)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, program + ".deps.json")));
        JsonElement libraries = document.RootElement.GetProperty("libraries");
        return
        [
            .. document.RootElement.GetProperty("targets").EnumerateObject().SelectMany(target => target.Value.EnumerateObject())
                .Where(library => libraries.GetProperty(library.Name).GetProperty("type").GetString() == "package")
                .Where(library => library.Value.TryGetProperty("runtime", out _) || library.Value.TryGetProperty("runtimeTargets", out _) || library.Value.TryGetProperty("native", out _))
                .Select(library => library.Name.Split('/')[0]),
        ];
    }
}
