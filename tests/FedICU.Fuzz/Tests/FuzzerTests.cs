using FedICU.Fuzz.Targets;

namespace FedICU.Fuzz.Tests;

/// <summary>Tests that the fuzzer reports targets with deliberate faults, together with the failing case.</summary>
[NonParallelizable]
internal sealed class FuzzerTests
{
    // the first case that fails; chosen
    private const long FirstWrong = 3;

    private static IEnumerable<TestCaseData> Faults()
    {
        yield return Case("AnUndocumentedException", (_, _) =>
            throw new InvalidCastException("oops"), "undocumented System.InvalidCastException: oops");
        // checked directly, because the library's own exceptions truncate and escape their messages
        yield return Sentence("ALongSentence", new string('x', 1000) + ".", "a sentence of 1001 characters");
        yield return Sentence("ABidirectionalMark", "The 'a\u202eb' is wrong.", "a sentence with U+202E");
        yield return Sentence("HalfOfASurrogatePair", "The 'a\ud800' is wrong.", "a sentence with U+D800");
        yield return Sentence("ALineEnd", "The 'a\n' is wrong.", "a sentence with U+000A");
        yield return Case("NoFullStop", (_, _) => throw new FedIcuException("wrong"), "a sentence without a full stop");
        yield return Case("Memory", (_, _) => GC.KeepAlive(new byte[4 << 20]), "allocated");
        yield return Case("Time", (_, _) => Thread.Sleep(2200), " s for ");
        yield return Case("AFileLeftOpen", (place, kept) => kept.Add(File.Create(place["open"])), "is still open");

        static TestCaseData Sentence(string name, string sentence, string expected) =>
            Case(name, (_, _) => Caller.CheckSentence(sentence, "the call", "here"), expected);

        static TestCaseData Case(string name, Action<FuzzPlace, List<IDisposable>> call, string expected) =>
            new TestCaseData(call, expected).SetName(name + "IsReported");
    }

    [TestCaseSource(nameof(Faults))]
    public void AFaultIsReported(Action<FuzzPlace, List<IDisposable>> call, string expected)
    {
        if (expected == "is still open" && !OperatingSystem.IsLinux())
            Assert.Ignore("only Linux lists the open files");
        List<IDisposable> kept = [];
        var target = new OwnTarget((input, place, library) => library.Try("the call", () =>
        {
            if (input.Case >= FirstWrong)
                call(place, kept);
        }));
        FuzzResult result = new Fuzzer(target, 1).Run(TimeSpan.MaxValue, most: FirstWrong + 1);
        kept.ForEach(open => open.Dispose());
        Assert.That(result.Faults, Has.Count.EqualTo(1));
        Assert.That(result.Faults[0].First.Message, Does.Contain(expected));
        Assert.That(result.Faults[0].First.Input.Case, Is.EqualTo(FirstWrong));
    }

    [Test]
    public void ACheckThatThrowsIsReported()
    {
        var target = new OwnTarget((input, _, _) => _ = Array.Empty<int>()[input.Case]);
        FuzzResult result = new Fuzzer(target, 1).Run(TimeSpan.MaxValue, most: 5);
        Assert.That(result.Faults.Single().First.Message, Does.Contain("IndexOutOfRangeException"));
        Assert.That(result.Faults.Single().Count, Is.EqualTo(5), "one fault, five times");
    }

    [Test]
    public void ExtraChangedAndMissingFilesAreReported()
    {
        using var place = new FuzzPlace(nameof(ExtraChangedAndMissingFilesAreReported));
        place.Put("a", [1]);
        SortedDictionary<string, byte[]> before = place.Files();
        place.CheckFiles(before, "nothing");
        place.Put("folder/b", [2]);
        Assert.That(() => place.CheckFiles(before, "a test"), Throws.InstanceOf<FuzzFailure>().With.Message.Contains("left over"));
        File.Delete(place["folder/b"]);
        place.Put("a", [2]);
        Assert.That(() => place.CheckFiles(before, "a test"), Throws.InstanceOf<FuzzFailure>().With.Message.Contains("other bytes"));
        File.Delete(place["a"]);
        Assert.That(() => place.CheckFiles(before, "a test"), Throws.InstanceOf<FuzzFailure>().With.Message.Contains("gone"));
    }

    [Test]
    public void ALoadedCaseEqualsTheSavedCase()
    {
        using var place = new FuzzPlace(nameof(ALoadedCaseEqualsTheSavedCase));
        FuzzInput input = new SettingsTarget().Make(5, 12);
        input.Save(place["case.json"]);
        FuzzInput loaded = FuzzInput.Load(place["case.json"]);
        Assert.That((loaded.Target, loaded.Seed, loaded.Case), Is.EqualTo(("settings", 5UL, 12L)));
        Assert.That(loaded.Parts.Select(part => (part.Name, Convert.ToHexString(part.Bytes))),
            Is.EqualTo(input.Parts.Select(part => (part.Name, Convert.ToHexString(part.Bytes)))));
    }

    [TestCase("--seconds", "many", ExpectedResult = 2)]
    [TestCase("--target", "nothing", ExpectedResult = 2)]
    [TestCase("--repro", "1:2", ExpectedResult = 2)]
    [TestCase("--target", "report", "--repro", "1:2", ExpectedResult = 0)]
    [TestCase("--target", "report", "--cases", "20", "--seed", "3", ExpectedResult = 0)]
    public int TheCommandLineEndsWith(params string[] args)
    {
        using var place = new FuzzPlace(nameof(TheCommandLineEndsWith));
        return Program.Main([.. args, "--out", place["out"]]);
    }

    /// <summary>A target with a check that the test defines.</summary>
    private sealed class OwnTarget(Action<FuzzInput, FuzzPlace, Caller> check) : FuzzTarget
    {
        public override string Name => "own";

        public override IReadOnlyList<FuzzPart> Generate(Choices choices) => [new("bytes", choices.Bytes(10))];

        public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
        {
            check(input, place, library);
            return Outcome.Accepted;
        }
    }
}
