using System.Diagnostics;

namespace FedICU.Cli.Tests;

/// <summary>Runs the commands that the README shows, one after the other, in a folder with the files that they name.</summary>
public sealed class ReadmeTests
{
    [Test]
    public void TheCommandsOfTheReadmeRun()
    {
        if (Readme() is not { } readme)
        {
            Assert.Ignore("the README is not here");
            return;
        }

        string[] commands = [.. Commands(File.ReadAllText(readme).ReplaceLineEndings("\n"))];
        Assert.That(commands, Has.Length.GreaterThanOrEqualTo(4));
        using var place = new Place();
        File.Move(place.A, place["trained.safetensors"]);
        foreach (string command in commands)
        {
            string[] words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            string[] arguments = [Path.Combine(AppContext.BaseDirectory, "fedicu.dll"), .. words[1..]];
            using Process process = Process.Start(new ProcessStartInfo("dotnet", arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                WorkingDirectory = Path.GetDirectoryName(place.Global)!,
            })!;
            Run run = Tool.End(process);
            Assert.That((run.Code, run.Error), Is.EqualTo((0, "")), command);
            Assert.That(run.Output, Is.Not.Empty, command);
        }

        Assert.That(place.Names(), Does.Contain("next.safetensors").And.Contain("round.json"));
    }

    private static string? Readme()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "FedICU.Core.sln")))
                return Path.Combine(folder.FullName, "README.md");
        }

        return null;
    }

    /// <summary>
    /// Gets the lines of shell blocks that begin with the tool's name. A backslash at the end of a line joins it with the next.
    /// </summary>
    private static IEnumerable<string> Commands(string readme) =>
        from block in readme.Split("```sh\n")[1..]
        from line in block.Split("```")[0].Replace("\\\n", " ").Split('\n')
        where line.StartsWith("fedicu ", StringComparison.Ordinal)
        select line;
}
