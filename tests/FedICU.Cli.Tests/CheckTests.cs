namespace FedICU.Cli.Tests;

/// <summary>Runs <c>aggregate --check</c>: every check of a round, and no file changes.</summary>
public sealed class CheckTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    private string Model => _place["model.safetensors"];

    private string State => _place["state.safetensors"];

    // where a run that was stopped between model and state leaves the state
    private string Pending => _place[".state.safetensors.fedicu-state"];

    [Test]
    public void ACheckSaysWhoWouldTakePart()
    {
        string broken = _place.Write("broken.safetensors", "no model");
        string[] line = ["aggregate", "--strategy", "krum,fedadam", "--check", "--global", _place.Global];
        string[] clients = ["--client", _place.A, "--client", _place.B, "--client", _place.C, "--client", broken];
        Run run = Check([.. line, .. clients, "--set", "on-unreadable=drop-client", "--set", "quorum=3", "--state", State]);
        Assert.That(run.Output, Does.Contain("left out: Client").And.Contain("this is a first round"));
        Assert.That(run.Lines[^1], Is.EqualTo("krum,fedadam: 3 of 4 clients would take part: every check passed, and nothing was written"));
        _place.AssertRefused([.. line, .. clients], "broken.safetensors");
        Check([.. line, .. clients[..^2], "--output", Model]);
    }

    [Test]
    public void ATensorThatWouldBeDroppedIsNamed()
    {
        string other = _place.Write("other.safetensors", Place.ModelOfOtherShape());
        Run run = Check([
            "aggregate", "--strategy", "fedavg", "--check", "--global", _place.Global, "--client", _place.A, "--client", other,
            "--set", "on-shape=drop-tensor"]);
        Assert.That(run.Output, Does.Contain($"note: Tensor '{Place.Weight}' would keep the global model's values"));
    }

    [Test]
    public void ACheckRefusesWhatARunRefuses()
    {
        Tool.Run([.. Round("fedadam", _place.Global), "--output", Model]).Succeeded();
        _place.AssertRefused([.. Round("krum,fedadam", Model), "--check"], "'fedadam'", "'krum,fedadam' was expected");
        _place.AssertRefused([.. Round("fedadam", _place.Global), "--check"], "belongs to the model");
        _place.AssertRefused([.. Round("krum", Model), "--check"], "keeps no state");
        _place.AssertRefused([.. Round("krum", Model)[..^2], "--check", "--set", "byzantine=1"], "krum");
        _place.AssertRefused([.. Round("fedadam", Model), "--check", "--state-out", _place["no/folder.safetensors"]], "no");
        _place.AssertRefused([.. Round("fedadam", Model), "--check", "--output", _place.A], "the update of client");
        _place.AssertRefused([.. Round("fedadam", Model), "--check", "--output", _place["no/folder.safetensors"]], "no");
        Check([.. Round("fedadam", Model), "--check"]);
    }

    [Test]
    public void APendingStateIsForeseenAndLeft()
    {
        Tool.Run([.. Round("fedadam", _place.Global), "--output", Model]).Succeeded();
        byte[] first = File.ReadAllBytes(State);
        string second = _place["second.safetensors"];
        Tool.Run([.. Round("fedadam", Model), "--output", second]).Succeeded();
        File.Move(State, Pending);
        File.WriteAllBytes(State, first);
        Assert.That(Check([.. Round("fedadam", second), "--check"]).Output, Does.Contain("note: A run would complete the state"));
        Assert.That(Check([.. Round("fedadam", Model), "--check"]).Output, Does.Contain("note: A run would remove a state"));
        // the run does what the check said
        Run run = Tool.Run([.. Round("fedadam", second), "--output", _place["third.safetensors"]]).Succeeded();
        Assert.That(run.Output, Does.Contain("was completed"));
        using TensorSource state = TensorSource.Open(State);
        Assert.That((state.Metadata["rounds"], File.Exists(Pending)), Is.EqualTo(("3", false)));
    }

    /// <summary>Runs a check and asserts that it passes and changes no file.</summary>
    private Run Check(string[] args)
    {
        (string, byte[])[] before = Contents();
        Run run = Tool.Run(args).Succeeded();
        Assert.That(run.Output, Does.Contain("nothing was written"));
        Assert.That(Contents(), Is.EqualTo(before));
        return run;

        (string, byte[])[] Contents() => [.. _place.Names().Select(name => (name, File.ReadAllBytes(_place[name])))];
    }

    private string[] Round(string strategy, string global) =>
    [
        "aggregate", "--strategy", strategy, "--global", global, "--client", _place.A, "--client", _place.B, "--client", _place.C,
        "--state", State,
    ];
}
