namespace FedICU.Cli.Tests;

public sealed class AggregateTests
{
    private Place _place = null!;

    private string Output => _place["out.safetensors"];

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void FedIcuGivesTheKnownAnswer()
    {
        // docs/algorithms.md, FedICU: the server
        string global = Matrix("g", 1, 0, 0, 2), a = Matrix("k1", 2, 0, 0, 2), b = Matrix("k2", 1, 1, 1, 2), c = Matrix("k3", -1, 0, 0, 3);
        Tool.Run("aggregate", "--strategy", "fedicu", "--global", global, "--client", a, "--client", b, "--client", c, "--output", Output)
            .Succeeded();
        Assert.That(Place.Read<double>(Output, "w"), Is.EqualTo(new[] { 1.29591174, .67316738, .69688164, 2.31618198 }).Within(1e-8));
    }

    [Test]
    public void WeightsFollowTheOrderOfTheClients()
    {
        Aggregate("fedavg", "--client", _place.B, "--client", _place.A, "--weights", "3,1").Succeeded();
        Assert.That(Place.Read<float>(Output, Place.Weight), Is.EqualTo(new[] { 1.25f, 0.75f, 0.75f, 2, 1.125f, -0.625f }));
        // (3 * 14 + 12) / 4 = 13.5 rounds to the even 14
        Assert.That(Place.Read<long>(Output, Place.Steps), Is.EqualTo(new[] { 14L }));
    }

    [Test]
    public void NumExamplesInTheFilesAreTheWeights()
    {
        string a = _place.Write("three.safetensors", Place.Model([4, 4, 4, 4, 4, 4], [4, 4], 4, ("num_examples", "3")));
        string b = _place.Write("one.safetensors", Place.Model([8, 8, 8, 8, 8, 8], [8, 8], 8, ("num_examples", "1")));
        Run run = Aggregate("fedavg", "--client", a, "--client", b).Succeeded();
        Assert.That(Place.Read<float>(Output, Place.Bias), Is.EqualTo(new[] { 5f, 5f }));
        Assert.That(run.Output, Does.Contain("75.0 %").And.Not.Contain("note:"));
    }

    [Test]
    public void MeanWeightsAreShownIfTheyDifferFromTheShares()
    {
        string[] line = ["--client", "a=" + _place.A, "--client", "b=" + _place.B, "--weights", "1,3"];
        Run run = Aggregate("fedicu", line).Succeeded();
        Assert.That(run.Cells("client"), Is.EqualTo(new[] { "client", "weight", "share", "mean w_k", "update", "sent", "of" }));
        Assert.That(run.Cells("b  ")[..4], Is.EqualTo(new[] { "b", "3", "75.0 %", "50.0 %" }));
        Assert.That(run.Output, Does.Contain("the weight from fedicu"));
        Assert.That(Aggregate("fedavg", line).Succeeded().Output, Does.Not.Contain("w_k"));
    }

    [Test]
    public void TheRoundNumberIsStoredAndCompared()
    {
        string late = _place.Write("late.safetensors", Place.Like(("round", "9")));
        Run run = Aggregate("fedavg", "--client", "k=" + late, "--round", "7", "--report", _place["r.json"]).Succeeded();
        Assert.That(run.Output, Does.Contain("'k'").And.Contain("the round '9'; this is round 7"));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_place["r.json"])).Round, Is.EqualTo(7));
        using (TensorSource model = TensorSource.Open(Output))
            Assert.That(model.Metadata["round"], Is.EqualTo("7"));
        Aggregate("fedavg", "--client", "k=" + late).Succeeded();
        using TensorSource without = TensorSource.Open(Output);
        Assert.That(without.Metadata, Does.Not.ContainKey("round"));
    }

    [Test]
    public void TheOutputNamesTheWrittenFile()
    {
        Assert.That(Aggregate("fedavg", "--client", _place.A).Succeeded().Output, Does.EndWith($": wrote {Output}{Environment.NewLine}"));
        string folder = _place["x.bin"];
        Run run = Tool.Run([.. Line("fedavg", folder), "--client", _place.A]).Succeeded();
        Assert.That(run.Output, Does.EndWith($": wrote {Path.Combine(folder, "model.safetensors")}{Environment.NewLine}"));
    }

    [Test]
    public void WithoutWeightsEveryClientWeighsOneAndANoteSaysSo()
    {
        Run run = Aggregate("fedavg", "--client", _place.A, "--client", _place.B).Succeeded();
        Assert.That(run.Output, Does.Contain("note: No client states num_examples: every client weighs 1."));
    }

    [Test]
    public void AWeightOfZeroLeavesTheClientOut()
    {
        Run run = Aggregate("fedavg", "--client", "a=" + _place.A, "--client", "b=" + _place.B, "--weights", "0,5").Succeeded();
        Assert.That(run.Output, Does.Contain("left out").And.Contain("1 of 2 clients"));
        Assert.That(Place.Read<float>(Output, Place.Weight), Is.EqualTo(Place.Read<float>(_place.B, Place.Weight)));
    }

    [Test]
    public void ClientNamesAreIdsInTheReport()
    {
        string report = _place["r.json"];
        Aggregate("fedicu", "--client", "zoe=" + _place.A, "--client", _place.B, "--report", report).Succeeded();
        var read = RoundReport.FromJson(File.ReadAllText(report));
        Assert.That(read.Clients.Select(client => client.Id), Is.EquivalentTo(new[] { "zoe", _place.B }));
        Assert.That(read.Tensors[0].Clients[0].Cosine, Is.Not.Null);
    }

    [Test]
    public void ANormThatOverflowsFloat64IsNull()
    {
        Assert.That(Norm(2e200, 1e200, 1e180, 1e199), Is.EqualTo(Math.Sqrt(5.01) * 1e200).Within(1e-12).Percent);
        Assert.That(Norm(1.7e308, 1.7e308, 0, 0), Is.Null);

        double? Norm(params double[] values)
        {
            string global = Matrix("large", 1e200, -1e200, 3e180, 1e199), report = _place["r.json"];
            Tool.Run(
                "aggregate", "--strategy", "fedavg", "--global", global, "--client", Matrix("k", values), "--output", Output,
                "--report", report).Succeeded();
            return RoundReport.FromJson(File.ReadAllText(report)).Tensors[0].Clients[0].Norm;
        }
    }

    [Test]
    public void CountsTakeSingularOrPlural()
    {
        string global = Matrix("g", 1, 0, 0, 2);
        Run run = Tool.Run(
            "aggregate", "--strategy", "fedavg", "--global", global, "--client", Matrix("k", 1, 2, 3, 4), "--output", Output).Succeeded();
        Assert.That(run.Output, Does.Contain("1 of 1 client, 1 tensor, backend"));
        Assert.That(Tool.Run("inspect", global).Succeeded().Output, Does.Contain("1 tensor, 4 elements, 32 bytes"));
        Assert.That(Tool.Run("diff", global, Output).Succeeded().Output, Does.Contain("differ in 1 of 1 tensor"));
    }

    [Test]
    public void APathMayContainAnEqualsSign()
    {
        string path = _place.Write("lr=0.1/a.safetensors", Place.Like());
        Run run = Aggregate("fedavg", "--client", path).Succeeded();
        Assert.That(run.Output, Does.Contain(path));
        Aggregate("fedavg", "--client=k=" + path).Succeeded();
    }

    [Test]
    public void SetOptionsReachTheStrategy()
    {
        string relu = _place["relu.safetensors"];
        string[] clients = ["--client", _place.A, "--client", _place.B, "--client", _place.C];
        Aggregate("fedicu", clients).Succeeded();
        Tool.Run([.. Line("fedicu", relu), .. clients, "--set", "weights=relu", "--set", "integers=keep"]).Succeeded();
        Assert.That(Place.Read<float>(relu, Place.Weight), Is.Not.EqualTo(Place.Read<float>(Output, Place.Weight)));
        Assert.That(Place.Read<long>(relu, Place.Steps), Is.EqualTo(new[] { 10L }));
        Tool.Run([.. Line("fedprox", relu), "--client", _place.A, "--set", "mu=0.5"]).Succeeded();
    }

    [Test]
    public void APolicyDropsTheClientAndSaysWhy()
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Run run = Aggregate(
            "fedavg", "--client", "bad=" + bad, "--client", _place.A, "--set", "on-nonfinite=drop-client", "--set", "quorum=1").Succeeded();
        Assert.That(run.Output, Does.Contain("left out").And.Contain("'layer.weight'").And.Contain("NaN"));
        Assert.That(Place.Read<float>(Output, Place.Weight), Is.EqualTo(Place.Read<float>(_place.A, Place.Weight)));
    }

    [TestCase("f16", DType.F16)]
    [TestCase("bf16", DType.BF16)]
    [TestCase("f64", DType.F64)]
    [TestCase("F32", DType.F32)]
    public void TheOutputHasTheRequestedType(string name, DType dtype)
    {
        Aggregate("fedicu", "--client", _place.A, "--client", _place.B, "--dtype", name).Succeeded();
        using TensorSource model = TensorSource.Open(Output);
        Assert.That(model.Tensors.Select(tensor => tensor.DType), Is.EquivalentTo(new[] { dtype, dtype, DType.I64 }));
    }

    [Test]
    public void NeitherThreadsNorOrderNorBackendChangesABitOfFedAvg()
    {
        string[] line = ["--client", _place.A, "--client", _place.B, "--client", _place.C];
        Aggregate("fedavg", [.. line, "--weights", "1,2,3"]).Succeeded();
        byte[] expected = File.ReadAllBytes(Output);
        string[][] variants =
            [["--threads", "1"], ["--threads", "7"], ["--backend", "reference"], ["--backend", "auto"], ["--threads", "0"]];
        foreach (string[] other in variants)
        {
            Aggregate("fedavg", [.. line, "--weights", "1,2,3", .. other]).Succeeded();
            Assert.That(File.ReadAllBytes(Output), Is.EqualTo(expected), string.Join(" ", other));
        }

        Aggregate("fedavg", "--client", _place.C, "--client", _place.B, "--client", _place.A, "--weights", "3,2,1").Succeeded();
        Assert.That(File.ReadAllBytes(Output), Is.EqualTo(expected));
    }

    [Test]
    public void AggregatedAdaptersAreAnAdapter()
    {
        string global = _place.WriteAdapter("base", 1), next = _place["next"];
        Run run = Tool.Run(
            "aggregate", "--strategy", "fedicu", "--global", global, "--client", _place.WriteAdapter("first", 2),
            "--client", _place.WriteAdapter("second", 3), "--output", next, "--report", Path.Combine(next, "round.json")).Succeeded();
        Assert.That(
            File.ReadAllBytes(Path.Combine(next, "adapter_config.json")),
            Is.EqualTo(File.ReadAllBytes(Path.Combine(global, "adapter_config.json"))));
        using TensorSource model = TensorSource.Open(next);
        Assert.That(model, Is.TypeOf<PeftAdapter>());
        LoraPairReport pair = RoundReport.FromJson(File.ReadAllText(Path.Combine(next, "round.json"))).LoraPairs.Single();
        Assert.That((pair.Name, pair.CrossTerm > 0), Is.EqualTo(("base.q_proj", true)));
        Assert.That(run.Output, Does.Contain("base.q_proj"));
    }

    [Test]
    public void AShardedModelKeepsItsShards()
    {
        _place.Write("big/one.safetensors", new MemoryModel { { "x", [2], new float[] { 1, 2 } } });
        _place.Write("big/two.safetensors", new MemoryModel { { "y", [2], new float[] { 3, 4 } } });
        string index = _place.Write(
            "big/model.safetensors.index.json",
            """{"metadata":{"total_size":16},"weight_map":{"x":"one.safetensors","y":"two.safetensors"}}""");
        var model = new MemoryModel { { "x", [2], new float[] { 5, 6 } }, { "y", [2], new float[] { 7, 8 } } };
        string client = _place.Write("k.safetensors", model);
        Tool.Run("aggregate", "--strategy", "fedavg", "--global", index, "--client", client, "--output", _place["next"]).Succeeded();
        Assert.That(Place.Read<float>(_place["next"], "y"), Is.EqualTo(new[] { 7f, 8f }));
        string[] names = [.. Directory.GetFiles(_place["next"]).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
        Assert.That(names, Has.Length.EqualTo(3).And.One.EqualTo("model.safetensors.index.json"));
        Assert.That(names[1..], Is.All.Match("^(one-[0-9a-f]{12}-00001|two-[0-9a-f]{12}-00002)-of-00002.safetensors$"));
    }

    [Test]
    public void TheOutputMayBeTheGlobalModelItself()
    {
        Tool.Run(Line("fedavg", _place.Global, _place.A)).Succeeded();
        Assert.That(Place.Read<float>(_place.Global, Place.Weight), Is.EqualTo(Place.Read<float>(_place.A, Place.Weight)));
    }

    [Test]
    public void ACancelledRoundLeavesNothing()
    {
        using var cancellation = new CancellationTokenSource();
        cancellation.Cancel();
        string[] before = _place.Names();
        Tool.Run(cancellation.Token, [.. Line("fedicu", Output, _place.A), "--report", _place["r.json"]]).Failed(130, "Cancelled");
        Assert.That(_place.Names(), Is.EqualTo(before));
    }

    private Run Aggregate(string strategy, params string[] rest) => Tool.Run([.. Line(strategy, Output), .. rest]);

    private string[] Line(string strategy, string output, params string[] clients) => _place.RoundLine(clients, output, strategy: strategy);

    private string Matrix(string name, params double[] values) =>
        _place.Write(name + ".safetensors", new MemoryModel { { "w", [2, 2], values } });
}
