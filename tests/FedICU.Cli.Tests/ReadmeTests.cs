using System.Diagnostics;

namespace FedICU.Cli.Tests;

/// <summary>
/// Runs the commands of the READMEs, of the repository and of the package, one after the other, in a folder that
/// contains the files they name.
/// </summary>
public sealed class ReadmeTests
{
    [TestCase("README.md")]
    [TestCase("src/FedICU.Cli/README.md")]
    public void TheCommandsOfTheReadmeRun(string path)
    {
        if (Ancestors.Find("FedICU.Core.sln") is not { } solution)
        {
            Assert.Ignore("the README is not here");
            return;
        }

        string readme = Path.Combine(Path.GetDirectoryName(solution)!, path);
        string[] commands = [.. Commands(File.ReadAllText(readme).ReplaceLineEndings("\n"))];
        Assert.That(commands, Has.Length.GreaterThanOrEqualTo(4));
        using var place = new Place();
        File.Move(place.A, place["trained.safetensors"]);
        foreach (string command in commands)
        {
            string[] words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            using Process process = Tool.Start(
                words[1..], start => start.WorkingDirectory = Path.GetDirectoryName(place.Global)!);
            Run run = Tool.End(process);
            Assert.That((run.Code, run.Error), Is.EqualTo((0, "")), command);
            Assert.That(run.Output, Is.Not.Empty, command);
        }

        Assert.That(place.Names(), Does.Contain("next.safetensors").And.Contain("round.json"));
    }

    /// <summary>
    /// Finds the lines of shell blocks that begin with the tool's name. A backslash at the end of a line joins it with
    /// the next line.
    /// </summary>
    public static IEnumerable<string> Commands(string document) =>
        from block in document.Split("```sh\n")[1..]
        from line in block.Split("```")[0].Replace("\\\n", " ").Split('\n')
        where line.StartsWith("fedicu ", StringComparison.Ordinal)
        select line;
}
