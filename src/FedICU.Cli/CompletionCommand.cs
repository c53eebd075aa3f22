using System.CommandLine;

namespace FedICU.Cli;

/// <summary>
/// The command <c>fedicu completion</c>: prints the script with which a shell completes the tool's command lines.
/// </summary>
internal sealed class CompletionCommand : FedIcuCommand
{
    private static readonly Dictionary<string, string> Scripts = new(StringComparer.Ordinal)
    {
        ["bash"] = """
            _fedicu() {
                local word=${COMP_WORDS[COMP_CWORD]}
                # a word ends for bash at '=' too, so the part before it is cut off the completions
                local line=${COMP_LINE:0:COMP_POINT} typed
                typed=${line##*[[:space:]]}
                local cut=${typed%"$word"}
                [[ $word == = ]] && cut=$typed
                mapfile -t COMPREPLY < <(fedicu "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null | while IFS= read -r each; do
                    [[ $each == "$typed"* ]] && printf '%s\n' "${each#"$cut"}"
                done)
                [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
            }
            complete -o default -F _fedicu fedicu
            """,
        ["zsh"] = """
            #compdef fedicu
            _fedicu() {
                # the words of this command up to the cursor: the line may have other commands
                local line="${words[1,CURRENT-1]} $PREFIX"
                local -a found
                found=("${(@f)$(fedicu "[suggest:${#line}]" "$line" 2>/dev/null)}")
                compadd -- ${found:#*=} || { compadd -S '' -- ${(M)found:#*=} } || _files
            }
            compdef _fedicu fedicu
            """,
        ["fish"] = """
            function __fedicu
                set -l line (commandline -cp)
                fedicu "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
            end
            complete -c fedicu -a '(__fedicu)'
            """,
        ["pwsh"] = """
            Register-ArgumentCompleter -Native -CommandName fedicu -ScriptBlock {
                param($wordToComplete, $commandAst, $cursorPosition)
                fedicu "[suggest:$cursorPosition]" "$commandAst" 2>$null | Where-Object { $_ -like "$wordToComplete*" } |
                    ForEach-Object { [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
            }
            """,
    };

    private readonly Argument<string> _shell = new("SHELL") { Description = $"{string.Join(", ", Scripts.Keys)}." };

    public CompletionCommand(Terminal terminal)
        : base("completion", "Prints the script with which a shell completes commands, options and strategies.", terminal)
    {
        Add(_shell);
        _shell.CompletionSources.Add([.. Scripts.Keys]);
    }

    public override IReadOnlyList<string> Examples =>
        ["source <(fedicu completion bash)", "fedicu completion fish > ~/.config/fish/completions/fedicu.fish"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string shell = line.GetRequiredValue(_shell);
        if (!Scripts.TryGetValue(shell, out string? script))
            throw new UsageException($"The shell '{shell}' is unknown; {string.Join(", ", Scripts.Keys)} are known.");
        // each line ends as a Unix shell expects it, also where the tool was built on Windows
        foreach (string scriptLine in script.ReplaceLineEndings("\n").Split('\n'))
            Terminal.Output.Write(scriptLine + "\n");
        return Task.FromResult(ExitCode.Done);
    }
}
