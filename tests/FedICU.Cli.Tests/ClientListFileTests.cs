namespace FedICU.Cli.Tests;

/// <summary>Runs rounds over the clients that a JSON file lists.</summary>
public sealed class ClientListFileTests
{
    private Place _place = null!;

    private string List => _place["lists/clients.json"];

    private string Output => _place["out.safetensors"];

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void EveryKeyIsRead()
    {
        string absolute = _place.A.Replace('\\', '/');
        Write(
            $$"""
            {"clients": [
                {"id": "a", "path": "../a.safetensors", "weight": 12, "kind": "delta", "base": "sha256:00", "local_steps": 4, "loss": 0.5,
                    "staleness": 0, "normalizer": 2.5},
                {"path": "x/b.safetensors", "kind": "sparse"}, {"path": "{{absolute}}", "kind": "full"}]}
            """);
        var statements = new ClientStatements { LocalSteps = 4, Loss = 0.5, Staleness = 0, Normalizer = 2.5 };
        Assert.That(new ClientListFile(List).Read(), Is.EqualTo(new ClientEntry[]
        {
            new("a", _place["lists/../a.safetensors"])
            {
                Weight = 12,
                Kind = UpdateKind.Delta,
                BaseDigest = "sha256:00",
                Statements = statements,
            },
            new("x/b.safetensors", _place["lists/x/b.safetensors"]) { Kind = UpdateKind.Sparse },
            new(absolute, absolute) { Kind = UpdateKind.Full },
        }));
    }

    [Test]
    public void TheListGivesTheBytesOfTheOptions()
    {
        Run("""{"clients": [{"id": "b", "path": "../b.safetensors", "weight": 3}, {"id": "a", "path": "../a.safetensors", "weight": 1}]}""")
            .Succeeded();
        byte[] expected = File.ReadAllBytes(Output);
        Tool.Run([.. _place.RoundLine(["a=" + _place.A, "b=" + _place.B], strategy: "fedavg"), "--weights", "1,3"]).Succeeded();
        Assert.That(File.ReadAllBytes(Output), Is.EqualTo(expected));
    }

    [Test]
    public void TheListTakesPrecedenceOverMetadataAndKind()
    {
        _place.Write("full.safetensors", Place.Like(("fedicu.update", "delta"), ("num_examples", "3")));
        Run("""{"clients": [{"path": "../full.safetensors", "kind": "full", "weight": 1}]}""", "--kind", "delta").Succeeded();
        Assert.That(Place.Read<float>(Output, Place.Weight), Is.EqualTo(Place.Read<float>(_place.A, Place.Weight)));
        // without a kind in the list, --kind counts
        string report = _place["r.json"];
        Run("""{"clients": [{"path": "../full.safetensors"}]}""", "--kind", "delta", "--report", report).Succeeded();
        Assert.That(Place.Read<float>(Output, Place.Weight), Is.EqualTo(new[] { 3f, 0, 0, 4, 2.5f, 1.5f }));
        ClientReport client = RoundReport.FromJson(File.ReadAllText(report)).Clients.Single();
        Assert.That((client.Id, client.Weight, client.Kind), Is.EqualTo(("../full.safetensors", 3, "delta")));
    }

    [Test]
    public void TheBaseOfTheListIsChecked()
    {
        _place.Write("other.safetensors", Place.Like(("fedicu.base", "sha256:00")));
        Refused("""{"clients": [{"id": "k", "path": "../other.safetensors"}]}""", "'k'", "sha256:00");
        Run($$"""{"clients": [{"path": "../other.safetensors", "base": "{{Place.Digest(_place.Global)}}"}]}""").Succeeded();
        Refused("""{"clients": [{"id": "k", "path": "../a.safetensors", "base": "sha256:01"}]}""", "'k'", "sha256:01");
    }

    [Test]
    public void AWrongWeightFallsUnderItsPolicy()
    {
        const string Text =
            """{"clients": [{"id": "k", "path": "../a.safetensors", "weight": -1}, {"path": "../b.safetensors", "weight": 2}]}""";
        Refused(Text, "'k'", "the weight -1");
        Run run = Run(Text, "--set", "on-weight=drop-client", "--set", "quorum=1").Succeeded();
        Assert.That(run.Output, Does.Contain("1 of 2 clients"));
    }

    private static IEnumerable<TestCaseData> BadTexts()
    {
        yield return Text("", "is empty");
        yield return Text("{", "not valid JSON at line 1");
        yield return Text("{\n  \"clients\": [],\n}", "not valid JSON at line 3");
        yield return Text("{} {}", "not valid JSON");
        yield return Text("[]", "the list is an array", "an object was expected");
        yield return Text("{}", "the list has no clients");
        yield return Text("""{"clients": {}}""", "an object for clients", "an array was expected");
        yield return Text("""{"clients": []}""", "the list of clients is empty");
        yield return Text("""{"client": []}""", "'client'", "unknown", "clients was expected");
        yield return Text("""{"clients": [], "clients": []}""", "the list has the key 'clients' twice");
        yield return Text("""{"clients": ["a.safetensors"]}""", "client number 1 is a string", "an object was expected");
        yield return Text("""{"clients": [{"weight": 2}]}""", "client number 1 has no path");
        yield return Client("\"wieght\": 3", "'wieght'", "unknown", "id, path, weight");
        yield return Client("\"weight\": 3, \"weight\": 3", "'weight' twice");
        yield return Client("\"weight\": \"3\"", "a string for weight", "a number was expected");
        yield return Client("\"weight\": null", "null for weight");
        yield return Client("\"weight\": 1e999", "'1e999' for weight", "a finite number was expected");
        yield return Client("\"loss\": true", "a boolean for loss");
        yield return Client("\"local_steps\": []", "an array for local_steps");
        yield return Client("\"staleness\": -1e400", "'-1e400' for staleness");
        yield return Client("\"normalizer\": {}", "an object for normalizer");
        yield return Client("\"kind\": \"half\"", "'half' for kind", "full, delta or sparse was expected");
        yield return Client("\"kind\": 1", "a number for kind");
        yield return Client("\"base\": 1", "a number for base", "a string was expected");
        yield return Client("\"control\": \"\"", "'' for control");
        yield return Text("""{"clients": [{"path": ""}]}""", "''", "path");
        yield return Text("""{"clients": [{"path": "a\u0000b"}]}""", "\\u0000", "path");
        yield return Text("""{"clients": [{"path": 1, "id": "k"}]}""", "client 'k' has a number for path");
        yield return Text("""{"clients": [{"path": "a", "id": ""}]}""", "'' for id");
        yield return Text("""{"clients": [{"path": "\ud800"}]}""", "not valid Unicode");
        yield return Text("""{"clients": [{"path": "a", "\ud800": 1}]}""", "not valid Unicode");
        yield return Text("""{"clients": [{"path": "a"}, {"path": "a"}]}""", "'a'", "twice");
        yield return Text("""{"clients": [{"path": "a"}, {"path": "./a"}]}""", "'a'", "'./a'", "same path");
        yield return Text("""{"clients": [{"path": "none.safetensors"}]}""", "'none.safetensors'", "does not exist");

        static TestCaseData Client(string keys, params string[] parts) =>
            Text($$"""{"clients": [{"id": "k", "path": "../a.safetensors", {{keys}}}]}""", ["client 'k'", .. parts]);

        static TestCaseData Text(string text, params string[] parts) => new TestCaseData(text, parts).SetArgDisplayNames(text);
    }

    [TestCaseSource(nameof(BadTexts))]
    public void AWrongListIsRefused(string text, string[] parts) => Refused(text, parts);

    [Test]
    public void EveryRefusalNamesTheFile() => Refused("""{"clients": [{"path": "a", "x": 1}]}""", $"'{List}': client 'a'");

    [Test]
    public void TextThatIsNotUtf8IsRefused()
    {
        Write("");
        File.WriteAllBytes(List, [.. "{\"clients\": [{\"path\": \""u8, 0xff, .. "\"}]}"u8]);
        _place.AssertRefused(Line(), "not valid UTF-8");
    }

    [Test]
    public void AMissingListIsRefused() => _place.AssertRefused(Line(), List, "does not exist");

    [Test]
    public void AClientGivenTwiceIsRefused()
    {
        Write("""{"clients": [{"id": "k", "path": "../a.safetensors"}]}""");
        _place.AssertRefused([.. Line(), "--client", "k=" + _place.B], "'k'", "twice");
        _place.AssertRefused([.. Line(), "--client", "l=" + _place.A], "'k'", "'l'", "same path");
        Tool.Run([.. Line(), "--client", "l=" + _place.B]).Succeeded();
    }

    [Test]
    public void NoOutputReplacesTheListOrItsFiles()
    {
        Write("""{"clients": [{"id": "k", "path": "../a.safetensors", "control": "../c.safetensors"}]}""");
        _place.AssertRefused([.. Line(), "--report", List], "--report", "the list of the clients itself");
        _place.AssertRefused([.. Line(), "--report", _place.C], "--report", "the control of client 'k' itself");
        _place.AssertRefused(Line(_place.C), "--output", "the control of client 'k' itself");
        _place.AssertRefused(Line(_place.A), "--output", "the update of client 'k' itself");
    }

    [Test]
    public void TheDocumentedExampleRuns()
    {
        if (Ancestors.Find("FedICU.Core.sln") is not { } solution)
        {
            Assert.Ignore("the documents are not here");
            return;
        }

        string document = File.ReadAllText(Path.Combine(Path.GetDirectoryName(solution)!, "docs", "command-line.md"));
        string section = document.ReplaceLineEndings("\n").Split("### Many clients\n")[1].Split("\n##")[0];
        _place.Write("round7.json", section.Split("```json\n")[1].Split("```")[0]);
        _place.Write("round7/a.safetensors", Place.Like(("num_examples", "400")));
        _place.Write("round7/b.safetensors", Place.Like(("num_examples", "400")));
        string[] shares = ["50.0 %", "75.0 %"];
        string[] commands = [.. ReadmeTests.Commands(section)];
        Assert.That(commands, Has.Length.EqualTo(shares.Length));
        foreach ((string command, string share) in commands.Zip(shares))
        {
            string[] words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            Run run = Tool.End(Tool.Start(
                words[1..], start => start.WorkingDirectory = Path.GetDirectoryName(_place.Global)!));
            Assert.That((run.Code, run.Error), Is.EqualTo((0, "")), command);
            Assert.That(run.Output, Does.Contain(share), command);
        }
    }

    private void Write(string text) => _place.Write("lists/clients.json", text);

    private string[] Line(string? output = null) => [.. _place.RoundLine([], output, strategy: "fedavg"), "--clients", List];

    private Run Run(string text, params string[] rest)
    {
        Write(text);
        return Tool.Run([.. Line(), .. rest]);
    }

    private void Refused(string text, params string[] parts)
    {
        Write(text);
        _place.AssertRefused(Line(), parts);
    }
}
