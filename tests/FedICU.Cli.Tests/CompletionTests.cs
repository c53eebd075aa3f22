using System.Diagnostics;
using FedICU.Tests;

namespace FedICU.Cli.Tests;

/// <summary>Tests what shells complete.</summary>
public sealed class CompletionTests
{
    [TestCase("fedicu agg", "aggregate")]
    [TestCase("fedicu aggregate --strategy kr", "krum")]
    [TestCase("fedicu aggregate --strategy krum,feda", "krum,fedadam")]
    [TestCase("fedicu aggregate --strategy fedadam --set server", "server-lr=")]
    [TestCase("fedicu aggregate --strategy krum,fedadam --set ", "server-lr=")]
    [TestCase("fedicu aggregate --strategy fedicu --set similarity=", "similarity=pairwise")]
    [TestCase("fedicu aggregate --strategy fedavg --set on-missing=d", "on-missing=drop-client")]
    [TestCase("fedicu compare --strategies fedavg,kr", "fedavg,krum")]
    [TestCase("fedicu compare --strategies krum+feda", "krum+fedadam")]
    [TestCase("fedicu compare --strategies fedavg,fedicu:ta", "fedavg,fedicu:tau=")]
    [TestCase("fedicu compare --keep b", "best")]
    [TestCase("fedicu merge --method ti", "ties")]
    [TestCase("fedicu strategies kr", "krum")]
    [TestCase("fedicu completion ", "bash")]
    [TestCase("fedicu mask --mask to", "top=")]
    [TestCase("fedicu aggregate --global x --client y --che", "--check")]
    public void WhatIsTypedIsCompleted(string line, string expected) => Assert.That(Complete(line), Does.Contain(expected));

    [TestCase("fedicu aggregate --global ")]
    [TestCase("fedicu aggregate --strategy fedicu --set tau=")]
    [TestCase("fedicu inspect mod")]
    public void FilesAndNumbersAreLeftToTheShell(string line) => Assert.That(Complete(line), Is.Empty);

    [Test]
    public void EveryCompletedValueIsAcceptedByItsOption()
    {
        foreach (StrategyDescription strategy in StrategyRegistry.Default.Strategies)
        {
            foreach (OptionDescription option in strategy.Options.Concat(StrategyRegistry.RoundOptions))
            {
                foreach (string setting in Complete($"fedicu aggregate --strategy {strategy.Name} --set {option.Name}="))
                {
                    string value = setting.Split('=')[1];
                    string[] errors = [];
                    try
                    {
                        StrategyRegistry.Default.Create(strategy.Name, [new(option.Name, value)]);
                    }
                    catch (InvalidOptionsException e)
                    {
                        // another option may be required beside it
                        errors = [.. e.Errors.Where(error => error.Contains($"'{value}'", StringComparison.Ordinal))];
                    }

                    Assert.That(errors, Is.Empty, $"{strategy.Name}: {setting}");
                }
            }
        }
    }

    [Test]
    public void AnUnknownShellIsAUsageError() => Tool.Run("completion", "csh").Failed(2, "'csh'", "bash, zsh, fish, pwsh");

    // bash splits words at '=' too
    [TestCase("fedicu agg", "fedicu agg", "aggregate")]
    [TestCase("fedicu aggregate --strategy krum,fedad", "fedicu aggregate --strategy krum,fedad", "krum,fedadagrad krum,fedadam")]
    [TestCase("fedicu explain --strategy fedicu --set similarity=", "fedicu explain --strategy fedicu --set similarity =",
        "mean pairwise pairwise-self previous")]
    [TestCase("fedicu explain --strategy fedicu --set similarity=pairwise-",
        "fedicu explain --strategy fedicu --set similarity = pairwise-", "pairwise-self")]
    [TestCase("fedicu inspect mod", "fedicu inspect mod", "")]
    public void TheScriptOfBashCompletes(string line, string words, string expected)
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("bash is not here");
        string script = $$"""
            fedicu() { {{Tool.ShellCommand}} "$@"; }
            compopt() { :; }
            {{Tool.Run("completion", "bash").Succeeded().Output}}
            COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($2) COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
            _fedicu
            echo "${COMPREPLY[*]}"
            """;
        using Process process = Tool.Start("bash", ["-c", script, "bash", line, words]);
        Assert.That(Tool.End(process).Succeeded().Output.Trim(), Is.EqualTo(expected));
    }

    [TestCase("fedicu agg", "", "aggregate")]
    [TestCase("fedicu aggregate --strategy krum,fedad", "", "krum,fedadagrad krum,fedadam")]
    [TestCase("fedicu aggregate --strategy kr", " --global x", "krum")]
    [TestCase("fedicu explain --strategy fedicu --set similarity=pairwise-", "", "similarity=pairwise-self")]
    [TestCase("fedicu inspect mod", "", "files")]
    public void TheScriptOfZshCompletesUpToTheCursor(string before, string after, string expected)
    {
        if (Tools.TryRun("zsh", ["--version"], out _) != 0)
            Tools.Missing("zsh");
        // zsh gives a completion the words of one command, and the whole line in BUFFER
        string script = $$"""
            fedicu() { {{Tool.ShellCommand}} "$@"; }
            compdef() { :; }
            _files() { print files; }
            compadd() {
                local -a found=(${${(M)@:#$PREFIX*}:#-*})
                (( $#found )) && print -- ${(o)found}
            }
            {{Tool.Run("completion", "zsh").Succeeded().Output}}
            words=(${=1}) CURRENT=${#words} PREFIX=${words[-1]}
            words+=(${=2}) BUFFER="fedicu mask --mask hard; $1$2" CURSOR=$(( 25 + ${#1} ))
            _fedicu
            """;
        using Process process = Tool.Start("zsh", ["-f", "-c", script, "zsh", before, after]);
        Assert.That(Tool.End(process).Succeeded().Output.Trim(), Is.EqualTo(expected));
    }

    [TestCase("fedicu agg", "aggregate")]
    [TestCase("fedicu mask --mask hard; fedicu aggregate --strategy kr", "krum")]
    public void TheScriptOfFishCompletes(string line, string expected)
    {
        if (Tools.TryRun("fish", ["--version"], out _) != 0)
            Tools.Missing("fish");
        string script = $"""
            function fedicu; {Tool.ShellCommand} $argv; end
            {Tool.Run("completion", "fish").Succeeded().Output}
            complete -C $argv[1]
            """;
        using Process process = Tool.Start("fish", ["--no-config", "-c", script, line]);
        Assert.That(Tool.End(process).Succeeded().Output.Split('\n', '\t'), Does.Contain(expected));
    }

    private static string[] Complete(string line) => Tool.Run($"[suggest:{line.Length}]", line).Succeeded().Lines;
}
