using System.Text;
using static FedICU.Tests.Files.MalformedFiles;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>Files that violate a rule of the format are rejected, each with its error message.</summary>
public sealed class MalformedFileTests
{
    public static IEnumerable<TestCaseData> Cases()
    {
        int number = 0;
        return All()
            .Select(c => new TestCaseData(c.File, $"'{Here}'{c.Sentence}").SetArgDisplayNames($"{++number:d3}: {Printable(c.Sentence)}"));
    }

    [TestCaseSource(nameof(Cases))]
    public void AMalformedFileIsRejectedWithOneSentence(byte[] file, string sentence)
    {
        Assert.That(Parse(file), Is.EqualTo(sentence));
    }

    [Test]
    public void ThereAreAtLeast200DistinctCases()
    {
        Case[] cases = [.. All()];
        Assert.That(cases.Select(c => Convert.ToHexString(c.File)).Distinct().Count(), Is.EqualTo(cases.Length).And.AtLeast(200));
    }

    [Test]
    public void FilesOnDiskAreRejectedWithTheSameSentences()
    {
        using var folder = new TempFolder();
        foreach (TestCaseData c in Cases())
        {
            var (file, sentence) = ((byte[])c.Arguments[0]!, (string)c.Arguments[1]!);
            string path = folder.Put(Here, file);
            InvalidModelException refusal = Assert.Throws<InvalidModelException>(() => SafetensorsFile.Open(path))!;
            string expected = file.Length == 0 ? $"'{path}' is empty." : sentence.Replace($"'{Here}'", $"'{path}'");
            Assert.That(refusal.Message, Is.EqualTo(expected));
        }

        // A rejected file is closed: /proc would show a leaked handle.
        if (OperatingSystem.IsLinux())
            Assert.That(Directory.EnumerateFileSystemEntries("/proc/self/fd").Select(fd => new FileInfo(fd).LinkTarget),
                Has.None.StartsWith(folder.FullName));
    }

    [Test]
    public void ATruncatedHeaderIsNotValidJson()
    {
        const string Header = """{"__metadata__":{"k":"v"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""";
        Assert.That(Parse(FileOf(Header, 2)), Is.Null);
        for (int length = 1; length < Header.Length; length++)
            Assert.That(Parse(FileOf(Header[..length], 2)), Does.StartWith($"'{Here}': the header is not valid JSON at byte "),
                Header[..length]);
    }

    [Test]
    public void SpacesAfterTheHeaderAndWhiteSpaceInsideAreAccepted()
    {
        Assert.That(Parse(FileOf("{ \"a\" :\n{\"dtype\"\t: \"U8\", \"shape\": [ 2 ] ,\r\n\"data_offsets\": [0,2]} }   ", 2)), Is.Null);
        Assert.That(Parse(FileOf("{}", 0)), Is.Null);
        Assert.That(Parse(FileOf("""{"\u005f_metadata__":{}}""", 0)), Is.Null);
    }

    private static string Printable(string sentence)
    {
        var text = new StringBuilder();
        foreach (char c in sentence.Length > 90 ? sentence[..90] : sentence)
            text.Append(c is >= ' ' and < '\u007f' and not '"' ? c : '?');
        return text.ToString().Trim(' ', ':');
    }
}
