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
    [TestCase("axis=diagonal", "'diagonal'", "columns, rows or tensor")]
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
        Refused([.. _place.MaskLine(_place.A), "--round", round], $"--round is '{round}'");
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
        Round("k=" + _place.Write("other.safetensors", Place.ModelOfOtherShape())), "'k'", "'layer.weight'", "[2, 3]", "[3, 2]");

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
        Refused(Round("k=" + _place.Write("other.safetensors", Place.ModelOfOtherType())), "'k'", "'layer.weight'", "I32", "F32");
    }

    // rules of LoRA pairs, which the model here lacks
    private static readonly string[] LoraRules = ["ffa-lora", "flora", "flexlora", "hetlora", "fedex-lora"];

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(float.NegativeInfinity)]
    public void ValuesThatAreNotFiniteAreRefused(float value)
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, value, value, 1, 1, 1], [1, 1], 1));
        // without those that need options, statements or another number of clients
        string[] others = ["fltrust", "dp-fedavg", "dare", "slerp", "fednova", "scaffold", "qfedavg", "fedbuff", .. LoraRules];
        foreach (string strategy in StrategyRegistry.Default.Names.Except(others))
            Refused(_place.RoundLine(["k=" + bad, _place.B, _place.C], strategy: strategy), "'k'", "'layer.weight'", "2 values");
        // a private round does not say how many
        Refused(
            [
                .. _place.RoundLine(["k=" + bad, _place.B, _place.C], strategy: "dp-fedavg"),
                "--set", "clip-norm=1", "--set", "noise-multiplier=0",
            ],
            "'k'", "'layer.weight' has values that are not finite");
    }

    [Test]
    public void ARootOfOtherTensorsOrValuesIsRefusedByItsName()
    {
        string[] line = _place.RoundLine([_place.A, _place.B], strategy: "fltrust");
        var other = new MemoryModel { { "head", [1], new float[1] } };
        string missing = _place.Write("missing.safetensors", other), shape = _place.Write("shape.safetensors", Place.ModelOfOtherShape());
        string broken = _place.Write("broken.safetensors", Place.Model([1, float.NaN, 0, 2, 1, float.NaN], [1, 1], 1));
        Refused([.. line, "--set", "root=" + missing], $"the root '{missing}' has no tensor 'layer.weight'; the global model's F32 [3, 2]");
        Refused([.. line, "--set", "root=" + shape], $"the root '{shape}' has the tensor 'layer.weight' of F32 [2, 3];", "shape [3, 2]");
        Refused([.. line, "--set", "root=" + broken], $"the root '{broken}': tensor 'layer.weight' has 2 values that are NaN or infinite");
    }

    [Test]
    public void WeightsThatUnderflowAreRefused()
    {
        string late = _place.Write("late.safetensors", Place.Like(("staleness", "1e9")));
        Refused(
            [.. _place.RoundLine([late], strategy: "fedbuff"), "--set", "normalize=weights", "--set", "staleness-a=1e6"],
            "'fedbuff' gave the clients weights whose sum is 0; a finite sum above 0 was expected.");
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
        Refused(["diff", _place.A, _place.Write("shape.safetensors", Place.ModelOfOtherShape())], "'layer.weight'", "[2, 3]", "[3, 2]");
        Refused(["diff", _place.A, _place.Write("type.safetensors", Place.ModelOfOtherType())], "'layer.weight'", "I32", "F32");
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

    private string[] Round(params string[] clients) => _place.RoundLine(clients);

    private void Refused(string[] args, params string[] parts) => _place.AssertRefused(args, parts);
}
