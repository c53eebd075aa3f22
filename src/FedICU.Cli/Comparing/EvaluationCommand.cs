using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace FedICU.Cli.Comparing;

/// <summary>
/// The command line that evaluates a model. It is split as a POSIX shell splits it, and no shell runs it: the names of
/// models cannot become commands.
/// </summary>
internal sealed partial class EvaluationCommand
{
    private const string Model = "{model}";
    private const string Report = "{report}";

    /// <summary>Splits a command line.</summary>
    /// <exception cref="RefusedException">
    /// A quote is not closed, there is no word, the program does not exist, or no word names the model.
    /// </exception>
    public EvaluationCommand(string text)
    {
        Text = text;
        Words = Split(text);
        if (Words.Count == 0)
            throw new RefusedException("--evaluate is ''; a command line such as 'python eval.py {model}' was expected.");
        if (!Words.Any(word => word.Contains(Model, StringComparison.Ordinal)) && !NeedsReport)
            throw new RefusedException($"--evaluate '{text}' has no {Model}, the place of the model's path.");
        if (!OperatingSystem.IsWindows() && !Exists(Words[0]))
            throw new RefusedException($"--evaluate: the program '{Words[0]}' was not found.");
    }

    public string Text { get; }

    public IReadOnlyList<string> Words { get; }

    /// <summary>Gets whether the command reads a round's report, which the global model has not.</summary>
    public bool NeedsReport => Words.Any(word => word.Contains(Report, StringComparison.Ordinal));

    /// <summary>
    /// Finds the program, if its word is a path, and the first other word that is a file: the script. Further files may
    /// be outputs, which change with each evaluation.
    /// </summary>
    public IEnumerable<string> FindScripts() => Words.Take(1).Where(File.Exists).Concat(Words.Skip(1).Where(File.Exists).Take(1));

    /// <summary>Makes the command for a model.</summary>
    public ProcessStartInfo Create(string model, string report, string name)
    {
        // in one pass: a path may itself contain '{name}'
        string[] words =
        [
            .. Words.Select(word => Placeholder().Replace(
                word, match => match.Value switch { Model => model, Report => report, _ => name })),
        ];
        return new ProcessStartInfo(words[0], words[1..]);
    }

    /// <summary>Splits a text into words by the quoting rules of POSIX shells.</summary>
    public static List<string> Split(string text)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        bool isWord = false;
        char quote = '\0';
        for (int i = 0; i < text.Length; i++)
        {
            char letter = text[i];
            if (quote == '\0' && char.IsWhiteSpace(letter))
            {
                if (isWord)
                    words.Add(word.ToString());
                word.Clear();
                isWord = false;
                continue;
            }

            isWord = true;
            if (letter == quote)
                quote = '\0';
            else if (quote == '\0' && (letter == '\'' || letter == '"'))
                quote = letter;
            else if (letter == '\\' && i + 1 < text.Length && IsEscaped(text[i + 1], quote))
                word.Append(text[++i]);
            else
                word.Append(letter);
        }

        if (quote != '\0')
            throw new RefusedException($"--evaluate '{text}' has no second {quote}; a quoted word must end.");
        if (isWord)
            words.Add(word.ToString());
        return words;
    }

    // on Windows a backslash separates folders
    private static bool IsEscaped(char next, char quote) => quote switch
    {
        '\'' => false,
        '"' => next is '"' or '\\' or '$' or '`',
        _ => !OperatingSystem.IsWindows() || next == '"',
    };

    private static bool Exists(string program) => program.Contains('/')
        ? File.Exists(program)
        : (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Any(folder => File.Exists(Path.Combine(folder, program)));

    [GeneratedRegex(@"\{(model|report|name)\}")]
    private static partial Regex Placeholder();
}
