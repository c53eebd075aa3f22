namespace FedICU.Cli.Tests;

/// <summary>Runs command lines that are refused: exit code 1, one sentence, and no file changes.</summary>
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
    public void WrongWeightsAreRefused(string weights, params string[] parts) =>
        Refused([.. Round(_place.A, _place.B), "--weights", weights], parts);

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
    public void WrongSettingsAreRefused(string setting, params string[] parts) =>
        Refused([.. Round(_place.A, _place.B), "--set", setting], parts);

    [Test]
    public void AllWrongSettingsAreReportedAtOnce() =>
        Refused([.. Round(_place.A), "--set", "tauu=1", "--set", "eps=x", "--set", "integers=round"], "'tauu'", "'eps'", "'integers'");

    [Test]
    public void ASettingGivenTwiceIsRefused() =>
        Refused([.. Round(_place.A), "--set", "tau=1", "--set", "tau=2"], "'tau'", "twice");

    [TestCase("x")]
    [TestCase("-1")]
    [TestCase("1.5")]
    [TestCase("99999999999")]
    [TestCase("1025")]
    public void WrongThreadsAreRefused(string threads) =>
        Refused([.. Round(_place.A), "--threads", threads], $"'{threads}'", "--threads");

    [TestCase("x")]
    [TestCase("-1")]
    [TestCase("1.5")]
    [TestCase("")]
    public void WrongRoundNumbersAreRefused(string round)
    {
        Refused([.. Round(_place.A), "--round", round], $"--round is '{round}'");
        Refused([.. Mask(_place.A), "--round", round], $"--round is '{round}'");
    }

    [Test]
    public void TheSameNameTwiceIsRefused() => Refused(Round("x=" + _place.A, "x=" + _place.B), "'x'", "twice");

    [Test]
    public void TheSamePathTwiceIsRefused() => Refused(Round(_place.A, _place.A), _place.A, "twice");

    [Test]
    public void TheSamePathUnderTwoNamesIsRefused() =>
        Refused(Round("x=" + _place.A, "y=" + _place.A), "'x'", "'y'", "same path");

    [Test]
    public void TheSamePathThroughALinkIsRefused()
    {
        string link = _place["link.safetensors"];
        File.CreateSymbolicLink(link, _place.A);
        Refused(Round("x=" + _place.A, "y=" + link), "'x'", "'y'", "same path");
    }

    [Test]
    public void TheSamePathInTwoSpellingsIsRefused()
    {
        string other = _place["./a.safetensors"];
        Refused(Round("x=" + _place.A, "y=" + other), "'x'", "'y'", $"same path: '{_place.A}' and '{other}'");
    }

    [TestCase("=path")]
    [TestCase("name=")]
    [TestCase("")]
    public void AClientWithoutNameOrPathIsRefused(string client) => Refused(Round(client), $"'{client}'", "NAME=PATH");

    [Test]
    public void NumExamplesInOnlySomeFilesIsRefused()
    {
        string stated = _place.Write("stated.safetensors", Place.Like(("num_examples", "12")));
        Refused(Round(_place.A, stated), _place.A, "stated.safetensors", "num_examples");
        Tool.Run([.. Round(_place.A, stated), "--weights", "1,2"]).Succeeded();
    }

    [TestCase("many")]
    [TestCase("-3")]
    [TestCase("NaN")]
    public void NumExamplesThatIsNoNumberIsRefused(string examples)
    {
        string bad = _place.Write("bad.safetensors", Place.Like(("num_examples", examples)));
        Refused(Round(bad), "bad.safetensors", examples);
    }

    [Test]
    public void AMissingGlobalModelIsRefused()
    {
        string missing = _place["nowhere.safetensors"];
        Refused(_place.RoundLine([_place.A], global: missing), "--global", "nowhere.safetensors", "does not exist");
    }

    [Test]
    public void AMissingClientIsRefused() =>
        Refused(Round(_place.A, "k=" + _place["nowhere.safetensors"]), "'k'", "nowhere.safetensors", "does not exist");

    [Test]
    public void AFolderWithoutAModelIsRefused()
    {
        Directory.CreateDirectory(_place["empty"]);
        Refused(Round("k=" + _place["empty"]), "'k'", "empty", "holds no model");
    }

    [Test]
    public void ATruncatedClientIsRefused()
    {
        byte[] whole = File.ReadAllBytes(_place.A);
        for (int length = 0; length < whole.Length; length += 13)
            Refused(Round("k=" + _place.Write("cut.safetensors", whole[..length])), "'k'", "cut.safetensors");
    }

    [Test]
    public void AClientThatIsNoModelIsRefused() =>
        Refused(Round("k=" + _place.Write("text.safetensors", "this is no model, only some text")), "'k'", "text.safetensors");

    [Test]
    public void AnotherShapeIsRefused() => Refused(
        Round("k=" + _place.Write("other.safetensors", ModelOfOtherShape())), "'k'", "'layer.weight'", "[2, 3]", "[3, 2]");

    [Test]
    public void AMissingTensorIsRefused()
    {
        var model = new MemoryModel { { Place.Weight, [3, 2], new float[6] }, { Place.Steps, [], new long[1] } };
        Refused(Round("k=" + _place.Write("other.safetensors", model)), "'k'", "'layer.bias'", "missing", "F32 [2]");
    }

    [Test]
    public void AnExtraTensorIsRefused()
    {
        MemoryModel model = Place.Like();
        model.Add("head", [1], new float[1]);
        Refused(Round("k=" + _place.Write("other.safetensors", model)), "'k'", "'head'", "F32 [1]");
    }

    [Test]
    public void AnotherKindOfTypeIsRefused()
    {
        Refused(Round("k=" + _place.Write("other.safetensors", ModelOfOtherType())), "'k'", "'layer.weight'", "I32", "F32");
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(float.NegativeInfinity)]
    public void ValuesThatAreNotFiniteAreRefused(float value)
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, value, value, 1, 1, 1], [1, 1], 1));
        foreach (string strategy in AggregatorCatalog.Names)
            Refused(_place.RoundLine(["k=" + bad, _place.B], strategy: strategy), "'k'", "'layer.weight'", "2 values");
    }

    [Test]
    public void ValuesThatDoNotFitTheOutputAreRefused()
    {
        string large = _place.Write("large.safetensors", Place.Model([1e6f, 1, 1, 1, 1, 1], [1, 1], 1));
        Refused([.. _place.RoundLine([large], strategy: "fedavg"), "--dtype", "f16"], "'layer.weight'", "F16");
    }

    [Test]
    public void AnUpdateOfAnotherModelIsRefused()
    {
        string update = _place["update.safetensors"];
        Tool.Run("mask", "--global", _place.B, "--local", _place.A, "--output", update).Succeeded();
        Refused(Round("k=" + update), "'k'", "sha256:");
    }

    [Test]
    public void AdaptersWithDifferentConfigsAreRefused()
    {
        string global = _place.WriteAdapter("base", 1);
        string a = _place.WriteAdapter("first", 2), b = _place.WriteAdapter("second", 3, alpha: 32);
        Refused(_place.RoundLine(["k=" + a, "l=" + b], _place["next"], global), "'l'", "lora_alpha", "32", "16");
        Refused(["mask", "--global", global, "--local", b, "--output", _place["next"]], "second", "lora_alpha", "32", "16");
    }

    [Test]
    public void AnOutputThatCannotBeWrittenIsRefused()
    {
        Directory.CreateDirectory(_place["folder.safetensors"]);
        Refused(_place.RoundLine([_place.B], _place["a.safetensors/o.safetensors"]), $"'{_place.A}' is a file, expected a folder");
        Refused(_place.RoundLine([_place.B], _place["a.safetensors/deep/folder"]), $"'{_place.A}' is a file, expected a folder");
        string[] outputs = ["folder.safetensors", "nowhere/o.safetensors", "a.safetensors/o.safetensors", "a.safetensors/folder"];
        foreach (string output in outputs)
            Refused(_place.RoundLine([_place.B], _place[output]), output);
    }

    [Test]
    public void AnOutputThatIsAClientIsRefused() => Refused(_place.RoundLine([_place.A, _place.B], _place.B), _place.B);

    [Test]
    public void AnOutputThatIsAFileOfAClientIsRefused()
    {
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        const string Message = "the update of client 'k' itself";
        string[] line = ["aggregate", "--strategy", "fedavg", "--global", global, "--client", "k=" + client];
        string[] withOutput = [.. line, "--output", _place["next"], "--report"];
        foreach (string output in (string[])["first", "first/", "first/adapter_model.safetensors"])
            Refused([.. line, "--output", _place[output]], $"--output '{_place[output]}'", Message);
        foreach (string report in (string[])["first/adapter_model.safetensors", "first/adapter_config.json"])
            Refused([.. withOutput, _place[report]], $"--report '{_place[report]}'", Message);
        Refused([.. withOutput, _place["base/adapter_config.json"]], "the global model itself");
        Refused([.. withOutput, _place["next/adapter_config.json"]], "the output itself");
        Refused([.. line[..^1], "k=" + _place["first/adapter_model.safetensors"], "--output", client], Message);
    }

    [Test]
    public void AReportThatIsAnInputIsRefused()
    {
        string[] line = [.. Round("k=" + _place.A, _place.B), "--report"];
        Refused([.. line, _place["./a.safetensors"]], "--report", "the update of client 'k' itself");
        Refused([.. line, _place.Global], "--report", "the global model itself");
        Refused([.. line, ""], "--report is ''");
    }

    [Test]
    public void AMaskThatWouldReplaceItsInputsIsRefused()
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
    public void ARefusedRoundRemovesTheFoldersItCreated()
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Refused(_place.RoundLine(["k=" + bad, _place.B], _place["new/deep/next"]), "'k'", "'layer.weight'");
    }

    [Test]
    public void AnEmptyOutputIsRefused() => Refused(_place.RoundLine([_place.A], ""), "--output");

    [Test]
    public void AReportThatCannotBeWrittenIsRefused()
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
    public void WrongMasksAreRefused(string mask, params string[] parts) => Refused([.. Mask(_place.A), "--mask", mask], parts);

    [TestCase("beta=1", "beta is 1")]
    [TestCase("importance=size", "'size'")]
    [TestCase("fill=one", "'one'")]
    [TestCase("seed=1.5", "'1.5'")]
    [TestCase("tau=1", "'tau'")]
    [TestCase("momentum=supplied", "supplied")]
    public void WrongMaskSettingsAreRefused(string setting, params string[] parts) => Refused([.. Mask(_place.A), "--set", setting], parts);

    [Test]
    public void OptionsWithoutEffectAreRefused()
    {
        Refused([.. Mask(_place.A), "--set", "sigma=1"], "--set sigma", "'hard'");
        Refused([.. Mask(_place.A), "--mask", "noise=0.5", "--set", "sigma=1"], "--set sigma", "'noise=0.5'");
        Tool.Run([.. Mask(_place.A), "--mask", "noise", "--set", "sigma=1"]).Succeeded();
        Refused([.. Mask(_place.A), "--momentum", _place.B, "--set", "momentum=none"], "--momentum", "b.safetensors", "momentum=none");
    }

    [Test]
    public void AMaskGivenTwiceIsRefused() =>
        Refused([.. Mask(_place.A), "--mask", "soft", "--set", "mask=hard"], "--mask and --set mask were both given");

    [Test]
    public void MasksOfDifferentModelsAreRefused()
    {
        Refused(Mask(_place.Write("other.safetensors", ModelOfOtherShape())), "'layer.weight'", "F32 [2, 3]", "F32 [3, 2]");
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
    public void ExplainRefusesTheSameInputsAsAggregate()
    {
        Refused(["explain", "--global", _place.Global, "--client", _place.A, "--client", _place.A], "twice");
        Refused(["explain", "--global", _place.Global, "--client", _place.A, "--set", "tauu=1"], "'tauu'");
        Refused(["explain", "--global", _place.Global, "--client", _place.A, "--weights", "x"], "'x'");
        Refused(["explain", "--global", _place.Global, "--client", _place["nowhere.safetensors"]], "does not exist");
    }

    [Test]
    public void InspectRefusesFilesThatAreNoModels()
    {
        Refused(["inspect", _place["nowhere.safetensors"]], "nowhere.safetensors", "does not exist");
        Refused(["inspect", _place.Write("text.safetensors", "some text that is long enough")], "text.safetensors");
        Refused(["inspect", ""], "MODEL");
    }

    [Test]
    public void DiffRefusesModelsThatCannotBeCompared()
    {
        Refused(["diff", _place.A, _place.Write("shape.safetensors", ModelOfOtherShape())], "'layer.weight'", "[2, 3]", "[3, 2]");
        Refused(["diff", _place.A, _place.Write("type.safetensors", ModelOfOtherType())], "'layer.weight'", "I32", "F32");
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

    private static MemoryModel ModelOfOtherShape() =>
        new() { { Place.Weight, [2, 3], new float[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };

    private static MemoryModel ModelOfOtherType() =>
        new() { { Place.Weight, [3, 2], new int[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };

    private string[] Round(params string[] clients) => _place.RoundLine(clients);

    private string[] Mask(string local) => ["mask", "--global", _place.Global, "--local", local, "--output", _place["out.safetensors"]];

    private void Refused(string[] args, params string[] parts) => _place.AssertRefused(args, parts);
}
