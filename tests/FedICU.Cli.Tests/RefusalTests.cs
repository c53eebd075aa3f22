namespace FedICU.Cli.Tests;

/// <summary>Lines that are understood and refused: exit code 1, one sentence, and the folder as it was before.</summary>
public sealed class RefusalTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [TestCase("1", "'1'", "1 number for 2 clients")]
    [TestCase("1,2,3", "'1,2,3'", "3 numbers for 2 clients")]
    [TestCase("1,,2", "3 numbers")]
    [TestCase("1,", "''")]
    [TestCase("1,x", "'x'", "b.safetensors")]
    [TestCase("1;2", "'1;2'")]
    [TestCase("-1,2", "'-1'", "a.safetensors")]
    [TestCase("1,-0.5", "'-0.5'", "b.safetensors")]
    [TestCase("1,NaN", "'NaN'")]
    [TestCase("Infinity,1", "'Infinity'")]
    [TestCase("1,1e999", "'1e999'")]
    [TestCase("0,0", "No client remains")]
    public void Weights(string weights, params string[] parts) => Refused([.. Round(_place.A, _place.B), "--weights", weights], parts);

    [TestCase("tauu=1", "'tauu'", "tau")]
    [TestCase("tau=abc", "'tau'", "'abc'")]
    [TestCase("tau=0", "tau is 0")]
    [TestCase("tau=-1", "tau is -1")]
    [TestCase("tau=NaN", "tau")]
    [TestCase("tau", "'tau'", "NAME=VALUE")]
    [TestCase("=3", "'=3'")]
    [TestCase("axis=diagonal", "'diagonal'", "columns or rows or tensor")]
    [TestCase("times-share=yes", "'yes'")]
    [TestCase("quorum=0", "quorum is 0")]
    [TestCase("quorum=3", "quorum is 3")]
    [TestCase("on-base=drop-tensor", "on-base")]
    [TestCase("mu=1", "'mu'", "unknown")]
    public void Settings(string setting, params string[] parts) => Refused([.. Round(_place.A, _place.B), "--set", setting], parts);

    [Test]
    public void SettingsAreRefusedAllAtOnce() =>
        Refused([.. Round(_place.A), "--set", "tauu=1", "--set", "eps=x", "--set", "integers=round"], "'tauu'", "'eps'", "'integers'");

    [Test]
    public void ASettingGivenTwice() => Refused([.. Round(_place.A), "--set", "tau=1", "--set", "tau=2"], "'tau'", "twice");

    [TestCase("x")]
    [TestCase("-1")]
    [TestCase("1.5")]
    [TestCase("99999999999")]
    [TestCase("1025")]
    public void Threads(string threads) => Refused([.. Round(_place.A), "--threads", threads], $"'{threads}'", "--threads");

    [TestCase("x")]
    [TestCase("-1")]
    [TestCase("1.5")]
    [TestCase("")]
    public void RoundNumbers(string round)
    {
        Refused([.. Round(_place.A), "--round", round], $"--round is '{round}'");
        Refused([.. Mask(_place.A), "--round", round], $"--round is '{round}'");
    }

    [Test]
    public void TheSameNameTwice() => Refused(Round("x=" + _place.A, "x=" + _place.B), "'x'", "twice");

    [Test]
    public void TheSamePathTwice() => Refused(Round(_place.A, _place.A), _place.A, "twice");

    [Test]
    public void TheSamePathUnderTwoNames() => Refused(Round("x=" + _place.A, "y=" + _place.A), "'x'", "'y'", "same path");

    [Test]
    public void TheSamePathThroughALink()
    {
        string link = _place["link.safetensors"];
        File.CreateSymbolicLink(link, _place.A);
        Refused(Round("x=" + _place.A, "y=" + link), "'x'", "'y'", "same path");
    }

    [Test]
    public void TheSamePathInTwoSpellings() => Refused(Round("x=" + _place.A, "y=" + _place["./a.safetensors"]), "'x'", "'y'", $"same path: '{_place.A}' and '{_place["./a.safetensors"]}'");

    [TestCase("=path")]
    [TestCase("name=")]
    [TestCase("")]
    public void AClientWithoutNameOrPath(string client) => Refused(Round(client), $"'{client}'", "NAME=PATH");

    [Test]
    public void ExamplesInSomeFilesOnly()
    {
        string stated = _place.Write("stated.safetensors", Place.Like(("num_examples", "12")));
        Refused(Round(_place.A, stated), _place.A, "stated.safetensors", "num_examples");
        Tool.Run([.. Round(_place.A, stated), "--weights", "1,2"]).Succeeded();
    }

    [TestCase("many")]
    [TestCase("-3")]
    [TestCase("NaN")]
    public void ExamplesThatAreNoNumber(string examples) => Refused(Round(_place.Write("bad.safetensors", Place.Like(("num_examples", examples)))), "bad.safetensors", examples);

    [Test]
    public void AMissingGlobal() => Refused(RoundOf([_place.A], global: _place["nowhere.safetensors"]), "--global", "nowhere.safetensors", "does not exist");

    [Test]
    public void AMissingClient() => Refused(Round(_place.A, "k=" + _place["nowhere.safetensors"]), "'k'", "nowhere.safetensors", "does not exist");

    [Test]
    public void AFolderWithoutAModel()
    {
        Directory.CreateDirectory(_place["empty"]);
        Refused(Round("k=" + _place["empty"]), "'k'", "empty", "holds no model");
    }

    [Test]
    public void ATruncatedClient()
    {
        byte[] whole = File.ReadAllBytes(_place.A);
        for (int length = 0; length < whole.Length; length += 13)
            Refused(Round("k=" + _place.Write("cut.safetensors", whole[..length])), "'k'", "cut.safetensors");
    }

    [Test]
    public void AClientThatIsNoModel() => Refused(Round("k=" + _place.Write("text.safetensors", "this is no model, only some text")), "'k'", "text.safetensors");

    [Test]
    public void AnotherShape()
    {
        var model = new MemoryModel { { Place.Weight, [2, 3], new float[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };
        Refused(Round("k=" + _place.Write("other.safetensors", model)), "'k'", "'layer.weight'", "[2, 3]", "[3, 2]");
    }

    [Test]
    public void AMissingTensor()
    {
        var model = new MemoryModel { { Place.Weight, [3, 2], new float[6] }, { Place.Steps, [], new long[1] } };
        Refused(Round("k=" + _place.Write("other.safetensors", model)), "'k'", "'layer.bias'", "missing", "F32 [2]");
    }

    [Test]
    public void AnExtraTensor()
    {
        MemoryModel model = Place.Like();
        model.Add("head", [1], new float[1]);
        Refused(Round("k=" + _place.Write("other.safetensors", model)), "'k'", "'head'", "F32 [1]");
    }

    [Test]
    public void AnotherKindOfType()
    {
        var model = new MemoryModel { { Place.Weight, [3, 2], new int[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };
        Refused(Round("k=" + _place.Write("other.safetensors", model)), "'k'", "'layer.weight'", "I32", "F32");
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(float.NegativeInfinity)]
    public void ValuesThatAreNotFinite(float value)
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, value, value, 1, 1, 1], [1, 1], 1));
        foreach (string strategy in AggregatorCatalog.Names)
            Refused(RoundOf(["k=" + bad, _place.B], strategy: strategy), "'k'", "'layer.weight'", "2 values");
    }

    [Test]
    public void ValuesThatDoNotFitTheOutput()
    {
        string large = _place.Write("large.safetensors", Place.Model([1e6f, 1, 1, 1, 1, 1], [1, 1], 1));
        Refused([.. RoundOf([large], strategy: "fedavg"), "--dtype", "f16"], "'layer.weight'", "F16");
    }

    [Test]
    public void AnUpdateAgainstAnotherModel()
    {
        string update = _place["update.safetensors"];
        Tool.Run("mask", "--global", _place.B, "--local", _place.A, "--output", update).Succeeded();
        Refused(Round("k=" + update), "'k'", "sha256:");
    }

    [Test]
    public void AdaptersThatDisagree()
    {
        string global = _place.WriteAdapter("base", 1), a = _place.WriteAdapter("first", 2), b = _place.WriteAdapter("second", 3, alpha: 32);
        Refused(["aggregate", "--strategy", "fedicu", "--global", global, "--client", "k=" + a, "--client", "l=" + b, "--output", _place["next"]], "'l'", "lora_alpha", "32", "16");
        Refused(["mask", "--global", global, "--local", b, "--output", _place["next"]], "second", "lora_alpha", "32", "16");
    }

    [Test]
    public void AnOutputThatCannotBeWritten()
    {
        Directory.CreateDirectory(_place["folder.safetensors"]);
        Refused(RoundOf([_place.B], _place["a.safetensors/o.safetensors"]), $"'{_place.A}' is a file, expected a folder");
        Refused(RoundOf([_place.B], _place["a.safetensors/deep/folder"]), $"'{_place.A}' is a file, expected a folder");
        foreach (string output in (string[])["folder.safetensors", "nowhere/o.safetensors", "a.safetensors/o.safetensors", "a.safetensors/folder"])
            Refused(RoundOf([_place.B], _place[output]), output);
    }

    [Test]
    public void AnOutputThatIsAClient() => Refused(RoundOf([_place.A, _place.B], _place.B), _place.B);

    [Test]
    public void AnOutputThatIsAFileOfAClient()
    {
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        string[] line = ["aggregate", "--strategy", "fedavg", "--global", global, "--client", "k=" + client];
        foreach (string output in (string[])["first", "first/", "first/adapter_model.safetensors"])
            Refused([.. line, "--output", _place[output]], $"--output '{_place[output]}'", "the update of client 'k' itself");
        foreach (string report in (string[])["first/adapter_model.safetensors", "first/adapter_config.json"])
            Refused([.. line, "--output", _place["next"], "--report", _place[report]], $"--report '{_place[report]}'", "the update of client 'k' itself");
        Refused([.. line, "--output", _place["next"], "--report", _place["base/adapter_config.json"]], "the global model itself");
        Refused([.. line, "--output", _place["next"], "--report", _place["next/adapter_config.json"]], "the output itself");
        Refused([.. line[..^1], "k=" + _place["first/adapter_model.safetensors"], "--output", client], "the update of client 'k' itself");
    }

    [Test]
    public void AReportThatIsAnInput()
    {
        byte[] before = File.ReadAllBytes(_place.A);
        Refused([.. Round("k=" + _place.A, _place.B), "--report", _place["./a.safetensors"]], "--report", "the update of client 'k' itself");
        Refused([.. Round(_place.A), "--report", _place.Global], "--report", "the global model itself");
        Refused([.. Round(_place.A), "--report", ""], "--report is ''");
        Assert.That(File.ReadAllBytes(_place.A), Is.EqualTo(before));
    }

    [Test]
    public void AMaskThatWouldReplaceItsInputs()
    {
        string momentum = _place.Write("m.safetensors", Place.Model(new float[6], new float[2], 0));
        string[] line = ["mask", "--global", _place.Global, "--local", _place.A, "--momentum", momentum, "--output"];
        Refused([.. line, _place.Global], "--output", "the received model itself");
        Refused([.. line, _place.A], "--output", "the trained model itself");
        Refused([.. line, momentum], "--output", "the momentum itself");
        Refused([.. line, _place["out.safetensors"], "--momentum-out", _place.Global], "--momentum-out", "the received model itself");
        Refused([.. line, _place["out.safetensors"], "--momentum-out", _place.A], "--momentum-out", "the trained model itself");
        Refused([.. line, _place["out.safetensors"], "--momentum-out", ""], "--momentum-out is ''");
    }

    [Test]
    public void ARefusedRoundTakesTheFoldersItMade()
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Refused(RoundOf(["k=" + bad, _place.B], _place["new/deep/next"]), "'k'", "'layer.weight'");
    }

    [Test]
    public void AnEmptyOutput() => Refused(RoundOf([_place.A], ""), "--output");

    [Test]
    public void AReportThatCannotBeWritten()
    {
        Directory.CreateDirectory(_place["folder"]);
        Refused([.. Round(_place.A), "--report", _place["nowhere/r.json"]], "--report", "nowhere/r.json");
        Refused([.. Round(_place.A), "--report", _place["folder"]], "--report", "folder");
        Refused([.. Round(_place.A), "--report", _place["a.safetensors/r.json"]], "--report", "a.safetensors/r.json");
        Refused([.. Round(_place.A), "--report", _place["out.safetensors"]], "--report", "output itself");
    }

    [TestCase("top=0", "top is 0")]
    [TestCase("top=1.5", "top is 1.5")]
    [TestCase("top=x", "'x'")]
    [TestCase("noise=-1", "sigma is -1")]
    [TestCase("hard=1", "'hard=1'")]
    public void Masks(string mask, params string[] parts) => Refused([.. Mask(_place.A), "--mask", mask], parts);

    [TestCase("beta=1", "beta is 1")]
    [TestCase("importance=size", "'size'")]
    [TestCase("fill=one", "'one'")]
    [TestCase("seed=1.5", "'1.5'")]
    [TestCase("tau=1", "'tau'")]
    [TestCase("momentum=supplied", "supplied")]
    public void MaskSettings(string setting, params string[] parts) => Refused([.. Mask(_place.A), "--set", setting], parts);

    [Test]
    public void WhatHasNoEffect()
    {
        Refused([.. Mask(_place.A), "--set", "sigma=1"], "--set sigma", "'hard'");
        Refused([.. Mask(_place.A), "--mask", "noise=0.5", "--set", "sigma=1"], "--set sigma", "'noise=0.5'");
        Tool.Run([.. Mask(_place.A), "--mask", "noise", "--set", "sigma=1"]).Succeeded();
        Refused([.. Mask(_place.A), "--momentum", _place.B, "--set", "momentum=none"], "--momentum", "b.safetensors", "momentum=none");
    }

    [Test]
    public void AMaskGivenTwice() => Refused([.. Mask(_place.A), "--mask", "soft", "--set", "mask=hard"], "--mask and --set mask were both given");

    [Test]
    public void MaskOfOtherModels()
    {
        var other = new MemoryModel { { Place.Weight, [2, 3], new float[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };
        Refused(Mask(_place.Write("other.safetensors", other)), "'layer.weight'", "F32 [2, 3]", "F32 [3, 2]");
        Refused(Mask(_place["nowhere.safetensors"]), "--local", "does not exist");
        Refused([.. Mask(_place.A), "--momentum", _place["nowhere.safetensors"]], "--momentum", "does not exist");
        var half = new MemoryModel { { Place.Weight, [3, 2], new float[6] } };
        Refused([.. Mask(_place.A), "--momentum", _place.Write("half.safetensors", half)], "half.safetensors", "'layer.bias'");
        Refused([.. Mask(_place.A), "--momentum-out", _place["out.safetensors"]], "--momentum-out");
        Refused([.. Mask(_place.A), "--momentum-out", _place["nowhere/m.safetensors"]], "nowhere/m.safetensors");
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Refused([.. Mask(bad), "--momentum-out", _place["m.safetensors"]], "'layer.weight'", "1 value");
    }

    [Test]
    public void ExplainRefusesAsAggregateDoes()
    {
        Refused(["explain", "--global", _place.Global, "--client", _place.A, "--client", _place.A], "twice");
        Refused(["explain", "--global", _place.Global, "--client", _place.A, "--set", "tauu=1"], "'tauu'");
        Refused(["explain", "--global", _place.Global, "--client", _place.A, "--weights", "x"], "'x'");
        Refused(["explain", "--global", _place.Global, "--client", _place["nowhere.safetensors"]], "does not exist");
    }

    [Test]
    public void InspectRefusesWhatIsNoModel()
    {
        Refused(["inspect", _place["nowhere.safetensors"]], "nowhere.safetensors", "does not exist");
        Refused(["inspect", _place.Write("text.safetensors", "some text that is long enough")], "text.safetensors");
        Refused(["inspect", ""], "MODEL");
    }

    [Test]
    public void DiffRefusesWhatCannotBeCompared()
    {
        var shape = new MemoryModel { { Place.Weight, [2, 3], new float[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };
        Refused(["diff", _place.A, _place.Write("shape.safetensors", shape)], "'layer.weight'", "[2, 3]", "[3, 2]");
        var type = new MemoryModel { { Place.Weight, [3, 2], new int[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };
        Refused(["diff", _place.A, _place.Write("type.safetensors", type)], "'layer.weight'", "I32", "F32");
        var missing = new MemoryModel { { Place.Weight, [3, 2], new float[6] }, { Place.Steps, [], new long[1] } };
        _place.Write("missing.safetensors", missing);
        Refused(["diff", _place.A, _place["missing.safetensors"]], "'layer.bias'", "missing");
        Refused(["diff", _place["missing.safetensors"], _place.A], "'layer.bias'", "missing");
        Refused(["diff", _place.A, _place["nowhere.safetensors"]], "B", "does not exist");
    }

    [Test]
    public void NamesFromFilesCannotWriteToTheTerminal()
    {
        var model = new MemoryModel { { "evil\u001b[2J\nname", [1], new float[1] } };
        Refused(Round("k=" + _place.Write("evil.safetensors", model)), "'k'");
        Run run = Tool.Run("inspect", _place["evil.safetensors"]).Succeeded();
        Assert.That(run.Output, Does.Not.Contain('\u001b').And.Contain("\\u001b[2J\\u000aname"));
    }

    private string[] Round(params string[] clients) => RoundOf(clients);

    private string[] RoundOf(string[] clients, string? output = null, string? global = null, string strategy = "fedicu") =>
    [
        "aggregate", "--strategy", strategy, "--global", global ?? _place.Global, .. clients.SelectMany(client => new[] { "--client", client }),
        "--output", output ?? _place["out.safetensors"],
    ];

    private string[] Mask(string local) => ["mask", "--global", _place.Global, "--local", local, "--output", _place["out.safetensors"]];

    private void Refused(string[] args, params string[] parts)
    {
        string[] before = _place.Names();
        Tool.Run(args).Failed(1, parts);
        Assert.That(_place.Names(), Is.EqualTo(before));
    }
}
