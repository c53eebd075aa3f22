using FedICU.Tests;

namespace FedICU.Interop.Tests;

/// <summary>The two builds of the exports, and the files of the repository that the tests use.</summary>
internal static class Builds
{
    private static readonly Lazy<(string? Path, string Output)> Published = new(Publish);

    public static string Root { get; } = FindRoot();

    /// <summary>The folder of fedicu.h.</summary>
    public static string Include { get; } = Path.Combine(Root, "src", "FedICU.Interop", "include");

    /// <summary>The assembly for hostfxr, beside its runtimeconfig.json.</summary>
    public static string Managed { get; } = Path.Combine(Root, "artifacts", "bin", "FedICU.Interop", "release", "libfedicu.dll");

    /// <summary>
    /// Returns the shared library of machine code, which the first call publishes. Skips the test if there is no
    /// compiler.
    /// </summary>
    public static string Native()
    {
        if (Tools.TryRun("clang", ["--version"], out _) != 0)
            Tools.Missing("clang, with which .NET links machine code");
        Assert.That(Published.Value.Path, Is.Not.Null, Published.Value.Output);
        return Published.Value.Path!;
    }

    /// <summary>Reads the first code block of a language on a page of docs/plugging-in.</summary>
    public static string PageExample(string page, string language) => PageExamples(page, language)[0];

    /// <summary>Reads the code blocks of a language on a page of docs/plugging-in.</summary>
    public static string[] PageExamples(string page, string language)
    {
        string text = File.ReadAllText(Path.Combine(Root, "docs", "plugging-in", page));
        return [.. text.Split($"```{language}\n").Skip(1).Select(block => block.Split("```")[0])];
    }

    private static (string?, string) Publish()
    {
        string folder = Path.Combine(Root, "artifacts", "interop");
        string[] arguments =
        [
            "publish", Path.Combine(Root, "src", "FedICU.Interop"), "-c", "Release", "-r", "linux-x64", "-p:Aot=true",
            "-o", folder, "--disable-build-servers",
        ];
        int exit = Tools.TryRun("dotnet", arguments, out string output);
        return (exit == 0 ? Path.Combine(folder, "libfedicu.so") : null, output);
    }

    private static string FindRoot()
    {
        string? root = AppContext.BaseDirectory;
        while (root is not null && !File.Exists(Path.Combine(root, "FedICU.Core.sln")))
            root = Path.GetDirectoryName(root);
        return root ?? throw new DirectoryNotFoundException("The tests must run inside their repository.");
    }
}
