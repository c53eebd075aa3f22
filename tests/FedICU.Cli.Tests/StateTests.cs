namespace FedICU.Cli.Tests;

/// <summary>
/// Runs rounds with <c>--state</c>, and rounds that are refused: old model and old state stay as they are.
/// </summary>
public sealed class StateTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    private string Model => _place["model.safetensors"];

    private string State => _place["state.safetensors"];

    [TestCase("krum,fedadam"), TestCase("median,fedadam"), TestCase("fedadam")]
    public void ThreeRoundsAreThoseOfTheLibrary(string strategy)
    {
        string[] updates = [_place.A, _place.B, _place.C];
        using var state = RoundState.InMemory();
        TensorSource before = TensorSource.Open(_place.Global);
        for (int number = 1; number <= 3; number++)
        {
            Run run = Tool.Run(Round(strategy, number == 1 ? _place.Global : Model)).Succeeded();
            Assert.That(run.Output.Contains("this is a first round"), Is.EqualTo(number == 1));
            using var sink = new MemorySink();
            var round = new AggregationRound(before) { State = state };
            foreach (string update in updates)
                round.Add(ClientUpdate.FromFile(update, update));
            StageAggregator rule = StrategyRegistry.Default.Create(strategy, []).Aggregator;
            rule.AggregateAsync(round, sink).GetAwaiter().GetResult();
            Assert.That(Place.Digest(Model), Is.EqualTo(ModelDigest.Compute(sink.Model)), $"round {number}");
            before.Dispose();
            before = TensorSource.Open(Model);
        }

        before.Dispose();
        using TensorSource written = TensorSource.Open(State);
        Assert.That((written.Metadata["fedicu.state"], written.Metadata["rounds"]), Is.EqualTo((strategy, "3")));
    }

    [Test]
    public void TheNewStateCanBeWrittenElsewhere()
    {
        Tool.Run(Round("fedadam", _place.Global)).Succeeded();
        byte[] old = File.ReadAllBytes(State);
        Tool.Run([.. Round("fedadam", Model), "--state-out", _place["next-state.safetensors"]]).Succeeded();
        Assert.That(File.ReadAllBytes(State), Is.EqualTo(old));
        using TensorSource written = TensorSource.Open(_place["next-state.safetensors"]);
        Assert.That(written.Metadata["rounds"], Is.EqualTo("2"));
    }

    [Test]
    public void ARoundWithoutAPlaceForItsStateSaysSo()
    {
        Run run = Tool.Run(_place.RoundLine([_place.A, _place.B], strategy: "fedadam")).Succeeded();
        Assert.That(run.Output, Does.Contain("note: 'fedadam' keeps a state between rounds and was given no place for it"));
    }

    [Test]
    public void ScoresAndChoicesAreShown()
    {
        Run run = Tool.Run(Round("krum,fedadam", _place.Global)).Succeeded();
        Assert.That(run.Output, Does.Contain("krum score"));
        Assert.That(run.Lines.Count(line => line.EndsWith("not chosen", StringComparison.Ordinal)), Is.EqualTo(2));
        Run explained = Tool.Run([
            "explain", "--strategy", "krum", "--global", _place.Global, "--client", _place.A, "--client", _place.B, "--client", _place.C,
        ]).Succeeded();
        Assert.That(explained.Output, Does.Contain("krum score").And.Contain("not chosen"));
    }

    [Test]
    public void ARefusedRoundLeavesModelAndState()
    {
        Tool.Run([.. Round("fedadam", _place.Global), "--round", "5"]).Succeeded();
        // of another rule, model, round
        _place.AssertRefused(Round("median,fedadam", Model), State, "'fedadam'", "'median,fedadam' was expected");
        _place.AssertRefused(Round("fedadam", _place.Global), State, "belongs to the model", Place.Digest(_place.Global));
        _place.AssertRefused([.. Round("fedadam", Model), "--round", "5"], State, "of round 5", "before 5");
        _place.AssertRefused(Round("median", Model), "'median' keeps no state");
        _place.AssertRefused([.. Round("fedadam", Model, "none.safetensors"), "--state-out", _place["new.safetensors"]], "does not exist");
        _place.AssertRefused(Round("fedadam", Model, "a.safetensors"), "the update of client", "itself");
        File.WriteAllText(_place["text.safetensors"], "no state");
        _place.AssertRefused(Round("fedadam", Model, "text.safetensors"), "text.safetensors");
        // too few clients, options out of their range
        _place.AssertRefused([.. Round("krum,fedadam", _place.Global, "new.safetensors"), "--set", "byzantine=1"], "krum", "3");
        foreach (string setting in (string[])["beta1=1", "beta2=-0.1", "tau=0", "server-lr=NaN", "v-init=inf", "bias-correction=some"])
            _place.AssertRefused([.. Round("fedadam", Model), "--set", setting], setting.Split('=')[0]);
        _place.AssertRefused([.. Round("krum,fedadam", Model), "--set", "byzantine=-1"], "byzantine is -1");
        // options without their stage
        _place.AssertRefused([.. Round("fedadam", Model), "--set", "krum.byzantine=0"], "'krum.byzantine' is unknown");
        _place.AssertRefused(
            [.. Round("fedicu,fedadam", Model, "new.safetensors"), "--set", "tau=1"], "'tau' belongs to several stages", "'fedicu.tau'");
    }

    [TestCase("fedadam,krum", "'krum' is a weighting and comes after 'fedadam'")]
    [TestCase("median,fedavg", "'median' and 'fedavg' are both merges")]
    [TestCase("krum,krum", "'krum' was given twice")]
    public void CompositionsWithoutSenseAreRefused(string strategy, string sentence)
    {
        Tool.Run(Round("fedadam", _place.Global)).Succeeded();
        _place.AssertRefused(Round(strategy, Model), sentence);
    }

    [Test]
    public void AnOptionOfOneOfSeveralStagesCanNameIt()
    {
        string[] line = Round("krum,fedadam", _place.Global);
        Tool.Run([.. line, "--set", "krum.byzantine=0", "--set", "fedadam.server-lr=0.5"]).Succeeded();
        string named = Place.Digest(Model);
        File.Delete(State);
        Tool.Run([.. line, "--set", "byzantine=0", "--set", "server-lr=0.5"]).Succeeded();
        Assert.That(Place.Digest(Model), Is.EqualTo(named));
    }

    [Test]
    public void AStateIsNoOtherFileOfTheRound()
    {
        string[] line = [.. _place.RoundLine([_place.A, _place.B], Model, strategy: "fedadam"), "--report", _place["report.json"]];
        foreach (string option in (string[])["--state", "--state-out"])
        {
            Refused(option, _place.Global, "is the global model itself");
            Refused(option, Model, "is the output itself");
            Refused(option, _place["report.json"], "is the report itself");
            Refused(option, _place.A, "is the update of client");
            Refused(option, "", "a path was expected");
            Refused(option, "/dev/null", "not a regular file");
        }

        Directory.CreateDirectory(_place["clients"]);
        File.Copy(_place.A, _place["clients/a.safetensors"]);
        _place.AssertRefused(
            [
                .. _place.RoundLine([], Model, strategy: "fedadam"), "--clients", _place["clients"],
                "--state", _place["clients/s.safetensors"],
            ],
            "--state", "would be a client of the next round");

        void Refused(string option, string path, string sentence)
        {
            string[] before = option == "--state" ? [] : ["--state", _place["s.safetensors"]];
            _place.AssertRefused([.. line, .. before, option, path], option, sentence);
        }
    }

    private string[] Round(string strategy, string global, string state = "state.safetensors") =>
        [.. _place.RoundLine([_place.A, _place.B, _place.C], Model, global, strategy), "--state", _place[state]];
}
