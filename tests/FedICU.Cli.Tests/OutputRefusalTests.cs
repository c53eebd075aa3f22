namespace FedICU.Cli.Tests;

/// <summary>
/// Runs command lines whose outputs or reports are refused: exit code 1, one sentence, and no file changes.
/// </summary>
public sealed class OutputRefusalTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

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
    public void ARefusedRoundRemovesTheFoldersItCreated()
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Refused(_place.RoundLine(["k=" + bad, _place.B], _place["new/deep/next"]), "'k'", "'layer.weight'");
    }

    [Test]
    public void AnEmptyOutputIsRefused() => Refused(_place.RoundLine([_place.A], ""), "--output");

    [Test]
    public void AReportThatIsAnInputIsRefused()
    {
        string[] line = [.. Round("k=" + _place.A, _place.B), "--report"];
        Refused([.. line, _place["./a.safetensors"]], "--report", "the update of client 'k' itself");
        Refused([.. line, _place.Global], "--report", "the global model itself");
        Refused([.. line, ""], "--report is ''");
    }

    [Test]
    public void AReportThatCannotBeWrittenIsRefused()
    {
        Directory.CreateDirectory(_place["folder"]);
        Refused([.. Round(_place.A), "--report", _place["nowhere/r.json"]], "--report", "nowhere/r.json");
        Refused([.. Round(_place.A), "--report", _place["folder"]], "--report", "folder");
        Refused([.. Round(_place.A), "--report", _place["a.safetensors/r.json"]], "--report", "a.safetensors/r.json");
        Refused([.. Round(_place.A), "--report", _place["out.safetensors"]], "--report", "output itself");
    }

    private string[] Round(params string[] clients) => _place.RoundLine(clients);

    private void Refused(string[] args, params string[] parts) => _place.AssertRefused(args, parts);
}
