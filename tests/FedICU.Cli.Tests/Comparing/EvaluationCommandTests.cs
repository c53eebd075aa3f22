using System.Diagnostics;
using FedICU.Cli.Comparing;

namespace FedICU.Cli.Tests.Comparing;

/// <summary>Tests how the text of <c>--evaluate</c> becomes a program with arguments.</summary>
[Platform(Exclude = "Win", Reason = "a backslash separates folders there, and the programs are others")]
public sealed class EvaluationCommandTests
{
    [TestCase("sh eval.sh {model}", "eval.sh|M")]
    [TestCase("  sh\t'a b' \"c d\" {model}  ", "a b|c d|M")]
    [TestCase("sh '' a\\ b {model}", "|a b|M")]
    [TestCase("""sh "a\"b" 'c\d' "e\f" {model}""", """a"b|c\d|e\f|M""")]
    [TestCase("sh x{model}y --r={report} {name}", "xMy|--r=R|{model}")]
    [TestCase("sh {model}; rm -rf $HOME", "M;|rm|-rf|$HOME")]
    public void WordsAreSplitAndPlacesReplacedOnce(string text, string arguments)
    {
        ProcessStartInfo start = new EvaluationCommand(text).Create("M", "R", "{model}");
        Assert.That(start.FileName, Is.EqualTo("sh"));
        Assert.That(string.Join('|', start.ArgumentList), Is.EqualTo(arguments));
    }

    [TestCase("", "''")]
    [TestCase("sh 'a {model}", "no second '")]
    [TestCase("sh eval.sh", "{model}")]
    [TestCase("no-such-program {model}", "'no-such-program'")]
    [TestCase("./no-such-file {model}", "'./no-such-file'")]
    public void AFaultIsRefused(string text, string part) =>
        Assert.That(() => new EvaluationCommand(text), Throws.TypeOf<RefusedException>().With.Message.Contains(part));
}
