namespace FedICU.Cli.Tests;

/// <summary>
/// Runs command lines that cannot be understood. They end with exit code 2 and one sentence that quotes what was typed,
/// and neither open nor write a file.
/// </summary>
public sealed class UsageTests
{
    private static readonly string[] Round = ["--global", "g", "--client", "a"];

    private static readonly string[] Aggregate = ["aggregate", "--strategy", "fedavg", .. Round, "--output", "o.safetensors"];

    private static readonly string[] Mask = ["mask", "--global", "g", "--local", "l", "--output", "o.safetensors"];

    private static IEnumerable<TestCaseData> Lines()
    {
        yield return Line([], "A command is missing", "aggregate");
        yield return Line(
            ["aggregat"], "'aggregat'", "aggregate, merge, mask, adapt, fuse, explain, report, strategies, privacy, inspect, diff, verify");
        yield return Line(["aggregat", "--global", "g"], "'aggregat'");
        yield return Line(["--global", "g"], "'--global'");
        yield return Line(["-x"], "'-x'");
        yield return Line(["--version", "verify"], "--version");
        yield return Line([.. Aggregate, "--frobnicate"], "'--frobnicate'", "aggregate");
        yield return Line([.. Aggregate, "--frobnicate=3"], "'--frobnicate'");
        yield return Line(["aggregate", "--strategy", "fedavg", .. Round, "--output", "--frobnicate"], "'--frobnicate'");
        yield return Line([.. Aggregate, "-x"], "'-x'");
        yield return Line([.. Aggregate, "b"], "'b' was not expected by 'fedicu aggregate'");
        yield return Line(
            ["aggregate", "--strategy", "fedmagic", .. Round, "--output", "o.safetensors"], "'fedmagic'", "fedavg, fedprox, fedicu");
        yield return Line(["aggregate", "--strategy", "FedAvg", .. Round, "--output", "o.safetensors"], "'FedAvg'");
        yield return Line([.. Aggregate, "--backend", "gpux"], "'gpux'", "auto, cuda, opencl, simd, reference");
        yield return Line([.. Aggregate, "--dtype", "f12"], "'f12'", "bf16");
        yield return Line([.. Aggregate, "--dtype", "i64"], "'i64'");
        yield return Line(["aggregate", .. Round, "--output", "o.safetensors"], "'--strategy'", "required by 'fedicu aggregate'");
        yield return Line(["aggregate", "--strategy", "fedavg", "--client", "a", "--output", "o.safetensors"], "'--global'", "required");
        yield return Line(["aggregate", "--strategy", "fedavg", "--global", "g", "--output", "o.safetensors"], "'--client'", "required");
        yield return Line(["aggregate", "--strategy", "fedavg", .. Round], "'--output'", "required");
        yield return Line(["aggregate", "--strategy", "fedavg", .. Round, "--output"], "'--output'", "value");
        yield return Line([.. Aggregate, "--weights"], "'--weights'", "value");
        yield return Line([.. Aggregate, "--global", "g"], "'--global'", "more than once");
        // usage errors are reported before refusals
        yield return Line(
            ["aggregate", "--strategy", "fedmagic", .. Round, "--output", "o.safetensors", "--weights", "x", "--set", "tau=x"],
            "'fedmagic'");
        yield return Line(
            ["aggregate", "--strategy", "fedicu", .. Round, "--output", "o.safetensors", "--set", "tau=x", "--dtype", "f12"], "'f12'");
        yield return Line(["mask", "--local", "l", "--output", "o.safetensors"], "'--global'", "required");
        yield return Line(["mask", "--global", "g", "--output", "o.safetensors"], "'--local'", "required");
        yield return Line(["mask", "--global", "g", "--local", "l"], "'--output'", "required");
        yield return Line([.. Mask, "--mask", "fuzzy"], "'fuzzy'", "hard, soft");
        yield return Line([.. Mask, "--client", "c"], "'--client'", "mask");
        yield return Line(["explain", "--global", "g"], "'--client' or '--clients'", "required by 'fedicu explain'");
        yield return Line([.. Aggregate, "--clients", "c", "--clients", "d"], "'--clients'", "more than once");
        yield return Line([.. Aggregate, "--clients"], "'--clients'", "value");
        yield return Line([.. Aggregate, "--clients", "no-such-folder", "--backend", "gpux"], "'gpux'");
        yield return Line([.. Aggregate, "--clients", "no-such-folder", "--kind", "half"], "'half'", "full, delta or sparse");
        yield return Line(["explain", .. Round, "--strategy", "medians"], "'medians'");
        yield return Line(
            ["aggregate", "--strategy", "krum,fedmagic", .. Round, "--output", "o.safetensors"], "'fedmagic'", "krum, multi-krum");
        yield return Line(["aggregate", "--strategy", "krum,", .. Round, "--output", "o.safetensors"], "The strategy '' is unknown");
        yield return Line(["aggregate", "--strategy", "krum, fedadam", .. Round, "--output", "o.safetensors"], "' fedadam'");
        yield return Line([.. Aggregate, "--state-out", "s.safetensors"], "'--state-out' needs '--state'");
        yield return Line([.. Aggregate, "--state"], "'--state'", "value");
        yield return Line([.. Aggregate, "--check", "--report", "r.json"], "'--report' and '--check'");
        yield return Line(["explain", .. Round, "--state", "s.safetensors"], "'--state'", "explain");
        yield return Line(["strategies", "fedmagic"], "'fedmagic'", "krum, multi-krum");
        yield return Line(["strategies", "krum", "fedadam"], "'fedadam' was not expected");
        yield return Line(["strategies", "--set", "tau=1"], "'--set'", "strategies");
        yield return Line(["inspect"], "MODEL");
        yield return Line(["inspect", "--frobnicate"], "'--frobnicate'", "inspect");
        yield return Line(["inspect", "-s"], "'-s'");
        yield return Line(["inspect", "a", "b"], "'b'");
        yield return Line(["inspect", "a", "--version"], "'--version'");
        yield return Line(["diff", "a"], "B");
        yield return Line(["verify", "--backend", "tpu"], "'tpu'");
        yield return Line(["help", "bogus"], "'bogus'", "aggregate, merge, mask");

        static TestCaseData Line(string[] args, params string[] parts) =>
            new TestCaseData(args, parts).SetArgDisplayNames(string.Join(" ", args));
    }

    [TestCaseSource(nameof(Lines))]
    public void UsageErrorsExitWith2(string[] args, string[] parts)
    {
        Tool.Run(args).Failed(2, parts);
        Assert.That(File.Exists("o.safetensors"), Is.False);
    }

    [Test]
    public void HelpShowsExamples([Values("aggregate", "mask", "explain", "strategies", "inspect", "diff", "verify")] string command)
    {
        Run run = Tool.Run(command, "--help").Succeeded();
        Assert.That(run.Output, Does.Contain("Usage:").And.Contain("Examples:").And.Contain("fedicu " + command + " "));
    }

    [Test]
    public void AVeryLongWordIsTruncatedInTheMessage([Values("command", "option")] string kind)
    {
        string word = new('x', 5000);
        Run run = Tool.Run(kind == "command" ? word : "--" + word).Failed(2, "is unknown");
        Assert.That(run.Error, Has.Length.LessThan(1100));
    }

    [Test]
    public void HelpIsAlsoACommand()
    {
        Assert.That(Tool.Run("help").Succeeded().Output, Is.EqualTo(Tool.Run("--help").Succeeded().Output));
        Assert.That(Tool.Run("help", "mask").Succeeded().Output, Is.EqualTo(Tool.Run("mask", "--help").Succeeded().Output));
    }

    [Test]
    public void HelpListsEveryKindOfModel()
    {
        foreach (string command in (string[])["", "inspect"])
        {
            string[] line = command.Length > 0 ? [command, "--help"] : ["--help"];
            string help = Tool.Run(line).Succeeded().Output.ReplaceLineEndings(" ");
            Assert.That(help, Does.Contain("index.json").And.Contain("adapter").And.Contain("or a model.safetensors"));
        }
    }

    [Test]
    public void HelpListsEveryCommand()
    {
        Run run = Tool.Run("--help").Succeeded();
        foreach (string command in (string[])["aggregate", "mask", "explain", "strategies", "inspect", "diff", "verify"])
            Assert.That(run.Output, Does.Contain("fedicu " + command));
    }
}
