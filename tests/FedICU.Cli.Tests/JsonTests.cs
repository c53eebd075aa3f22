using System.Text.Json;

namespace FedICU.Cli.Tests;

/// <summary>Tests <c>--json</c>: one document on the standard output, with the figures that the tables show.</summary>
public sealed class JsonTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void InspectHasTheTensorsAndTheirFigures()
    {
        JsonElement plain = Json("inspect", _place.A, "--json"), full = Json("inspect", _place.A, "--json", "--stats");
        string table = Tool.Run("inspect", _place.A, "--stats").Succeeded().Output;
        Assert.That(table, Does.Contain("digest " + plain.GetProperty("digest").GetString()));
        Assert.That(plain.GetProperty("model").GetString(), Is.EqualTo(_place.A));
        JsonElement tensor = full.GetProperty("tensors").EnumerateArray()
            .Single(each => each.GetProperty("name").GetString() == "layer.weight");
        Assert.That(tensor.GetProperty("dtype").GetString(), Is.EqualTo("F32"));
        Assert.That(tensor.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()), Is.EqualTo(new long[] { 3, 2 }));
        Assert.That(tensor.GetProperty("bytes").GetInt64(), Is.EqualTo(24));
        Assert.That(table, Does.Contain(Text.Number(tensor.GetProperty("norm").GetDouble())));
        Assert.That(tensor.GetProperty("non_finite").GetInt64(), Is.Zero);
        Assert.That(plain.GetProperty("tensors")[0].TryGetProperty("norm", out _), Is.False, "without --stats nothing is measured");
        Assert.That(plain.GetProperty("elements").GetInt64(), Is.EqualTo(
            plain.GetProperty("tensors").EnumerateArray().Sum(each => each.GetProperty("elements").GetInt64())));
    }

    [Test]
    public void DiffSaysWhetherTheModelsDiffer()
    {
        JsonElement same = Json("diff", _place.A, _place.A, "--json"), different = Json("diff", _place.A, _place.B, "--json");
        Assert.That(same.GetProperty("identical").GetBoolean() && !different.GetProperty("identical").GetBoolean());
        Assert.That(same.GetProperty("different_tensors").GetInt32(), Is.Zero);
        Assert.That(different.GetProperty("different_tensors").GetInt32(), Is.EqualTo(
            different.GetProperty("tensors").EnumerateArray().Count(each => each.GetProperty("different_elements").GetInt64() > 0)));
        Assert.That(
            different.GetProperty("a").GetProperty("digest").GetString(),
            Is.EqualTo(same.GetProperty("b").GetProperty("digest").GetString()));
    }

    [Test]
    public void AnInfiniteDifferenceIsNullAndItsValuesAreCounted()
    {
        string a = _place["nan.safetensors"], b = _place["one.safetensors"];
        new MemoryModel { { "w", [2], new[] { float.NaN, 1f } } }.SaveTo(TensorSink.ToFile(a));
        new MemoryModel { { "w", [2], new[] { 0f, 1f } } }.SaveTo(TensorSink.ToFile(b));
        JsonElement tensor = Json("diff", a, b, "--json").GetProperty("tensors")[0];
        Assert.That(tensor.GetProperty("max_absolute").ValueKind, Is.EqualTo(JsonValueKind.Null));
        Assert.That(
            (tensor.GetProperty("non_finite_a").GetInt64(), tensor.GetProperty("non_finite_b").GetInt64()), Is.EqualTo((1L, 0L)));
    }

    [Test]
    public void ExplainPrintsTheReport()
    {
        string[] round = ["--strategy", "fedavg", "--global", _place.Global, "--client", "a=" + _place.A, "--client", "b=" + _place.B];
        JsonElement report = Json(["explain", .. round, "--json"]);
        Assert.That(report.GetProperty("strategy").GetString(), Is.EqualTo("fedavg"));
        Assert.That(
            report.GetProperty("clients").EnumerateArray().Select(client => client.GetProperty("id").GetString()),
            Is.EqualTo(new[] { "a", "b" }));
        Assert.That(report.GetProperty("tensors")[0].GetProperty("clients")[0].TryGetProperty("cosine", out _));
    }

    [Test]
    public void StrategiesListsAllOrDescribesOne()
    {
        JsonElement all = Json("strategies", "--json"), one = Json("strategies", "fedadam", "--json");
        Assert.That(
            all.GetProperty("strategies").EnumerateArray().Select(each => each.GetProperty("name").GetString()),
            Is.EqualTo(StrategyRegistry.Default.Names));
        JsonElement adam = one.GetProperty("strategies").EnumerateArray().Single();
        Assert.That(adam.GetProperty("state").EnumerateArray().Select(slot => slot.GetString()), Is.EqualTo(new[] { "m", "v" }));
        Assert.That(
            adam.GetProperty("options").EnumerateArray().Select(option => option.GetProperty("name").GetString()),
            Does.Contain("server-lr"));
        Assert.That(one.GetProperty("round_options").GetArrayLength(), Is.EqualTo(StrategyRegistry.RoundOptions.Count));
        Tool.Run("strategies", "krumm", "--json").Failed(2, "'krumm'");
    }

    [Test]
    public void DevicesHasAListAndTheCpus()
    {
        JsonElement devices = Json("devices", "--json");
        Assert.That(devices.GetProperty("devices").ValueKind, Is.EqualTo(JsonValueKind.Array));
        Assert.That(devices.GetProperty("cpus").GetInt32(), Is.EqualTo(Environment.ProcessorCount));
    }

    [Test]
    public void ARefusalIsASentenceAndNoJson() =>
        Tool.Run("inspect", _place["nowhere.safetensors"], "--json").Failed(1, "nowhere.safetensors");

    private static JsonElement Json(params string[] line) => JsonDocument.Parse(Tool.Run(line).Succeeded().Output).RootElement;
}
