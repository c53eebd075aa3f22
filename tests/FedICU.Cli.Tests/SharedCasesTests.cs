namespace FedICU.Cli.Tests;

/// <summary>
/// The small inputs from public bug reports (shared/cases), as their README says. Those about outputs are in <see cref="PublishingTests"/>.
/// </summary>
internal sealed class SharedCasesTests
{
    private static readonly string[] DropAll =
    [
        .. new[] { "nonfinite", "missing", "extra", "shape", "dtype", "base", "unreadable", "weight", "config", "quantized", "changed", "stale" }
            .SelectMany(fault => new[] { "--set", $"on-{fault}=drop-client" }),
        "--set", "quorum=1",
    ];

    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void FactorsOfFusedExpertsAreNotBalanced()
    {
        string cases = Case("fused-experts-balance");
        Run plain = Aggregate(cases, "plain").Succeeded();
        Run balanced = Aggregate(cases, "balanced", "--set", "balance=true", "--report", _place["report.json"]).Succeeded();
        Assert.That(Digest(_place["balanced"]), Is.EqualTo(Digest(_place["plain"])));
        Assert.That(balanced.Output, Does.Contain("target_parameters").And.Contain("experts"));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_place["report.json"])).LoraPairs, Is.Empty);
        Assert.That(plain.Output, Does.Not.Contain("cross-term"));
    }

    [Test]
    public void CodesOfFourBitsAreRefusedOrKept()
    {
        string cases = Case("nf4-codes"), global = Path.Combine(cases, "global-bnb.safetensors"), output = _place["next.safetensors"];
        string[] line =
        [
            "aggregate", "--strategy", "fedavg", "--global", global, "--client", Path.Combine(cases, "a-bnb.safetensors"), "--client", Path.Combine(cases, "b-bnb.safetensors"),
            "--output", output,
        ];
        Tool.Run(line).Failed(1, "is quantized", "bitsandbytes 4-bit", "on-quantized=keep");
        Assert.That(File.Exists(output), Is.False);
        Tool.Run([.. line, "--set", "on-quantized=drop-client", "--set", "quorum=1"]).Failed(1, "bitsandbytes 4-bit");
        Run kept = Tool.Run([.. line, "--set", "on-quantized=keep"]).Succeeded();
        Assert.That(kept.Output, Does.Contain("bitsandbytes 4-bit"));
        Assert.That(Digest(output), Is.EqualTo(Digest(global)), "there is nothing else in it");
    }

    [Test]
    public void RankListsOfAdaLoraAreOpened()
    {
        string cases = Case("adalora-rank-lists");
        Assert.That(Tool.Run("inspect", Path.Combine(cases, "a")).Succeeded().Output, Does.Contain("ADALORA"));
        Aggregate(cases, "next").Succeeded();
        Assert.That(Tool.Run("inspect", _place["next"]).Succeeded().Output, Does.Contain("ADALORA"));
    }

    [Test]
    public void AnotherAlphaOfLoHaIsRefused()
    {
        string cases = Case("loha-alpha");
        Aggregate(cases, "next").Failed(1, "adapter_config.json", "alpha", "8", "32");
        Assert.That(Directory.Exists(_place["next"]), Is.False);
    }

    [Test]
    public void PathsOfOneBaseModelAreAnOption()
    {
        string cases = Case("base-model-path");
        Aggregate(cases, "next").Failed(1, "base_model_name_or_path");
        Aggregate(cases, "next", "--set", "on-config=ignore-base").Succeeded();
    }

    [Test]
    public void ClientsOfWrongWeightsAreDropped()
    {
        string cases = Case("metadata-weights");
        string[] clients = [.. Directory.GetFiles(cases, "m*.safetensors").Order(StringComparer.Ordinal)];
        string[] line =
        [
            "aggregate", "--strategy", "fedavg", "--global", Path.Combine(cases, "g.safetensors"), .. clients.SelectMany(path => new[] { "--client", path }),
            "--output", _place["next.safetensors"], "--report", _place["report.json"],
        ];
        Tool.Run(line).Failed(1, "has the weight -5");
        Tool.Run([.. line, .. DropAll]).Succeeded();
        RoundReport report = RoundReport.FromJson(File.ReadAllText(_place["report.json"]));
        foreach (ClientReport client in report.Clients)
        {
            using TensorSource update = TensorSource.Open(client.Id);
            string stated = update.Metadata.GetValueOrDefault("num_examples", "none");
            bool isGood = double.TryParse(stated, System.Globalization.CultureInfo.InvariantCulture, out double weight) && weight > 0 && double.IsFinite(weight);
            Assert.That(client.Included, Is.EqualTo(isGood), $"{client.Id} states {stated}: {client.Reason}");
        }

        Assert.That(report.Clients.Count(client => client.Included), Is.GreaterThan(0));
    }

    [Test]
    public void AMeanThatFitsIsGiven()
    {
        string cases = Case("float64-minimum"), output = _place["next.safetensors"];
        string[] clients = [Path.Combine(cases, "min64_a.safetensors"), Path.Combine(cases, "min64_b.safetensors")];
        Tool.Run("aggregate", "--strategy", "fedavg", "--global", Path.Combine(cases, "min64_g.safetensors"), "--client", clients[0], "--client", clients[1], "--output", output).Succeeded();
        using TensorSource next = TensorSource.Open(output), a = TensorSource.Open(clients[0]), b = TensorSource.Open(clients[1]);
        foreach (TensorInfo tensor in next.Tensors)
        {
            double[] means = Values(next, tensor), first = Values(a, tensor), second = Values(b, tensor);
            for (int i = 0; i < means.Length; i++)
                Assert.That(means[i], Is.EqualTo(first[i] / 2 + second[i] / 2).Within(1).Ulps, $"{tensor.Name}[{i}]");
        }
    }

    [Test]
    public void ATensorOfOneElementThatChangedIsSent()
    {
        string cases = Case("one-element-mask"), local = Path.Combine(cases, "local.safetensors");
        Tool.Run("mask", "--global", Path.Combine(cases, "global.safetensors"), "--local", local, "--output", _place["update.safetensors"], "--dense").Succeeded();
        using TensorSource sent = TensorSource.Open(_place["update.safetensors"]), trained = TensorSource.Open(local);
        foreach (TensorInfo tensor in trained.Tensors.Where(tensor => tensor.ElementCount == 1))
            Assert.That(Place.Data(sent, sent.Find(tensor.Name)!), Is.EqualTo(Place.Data(trained, tensor)), tensor.Name);
    }

    private string Case(string name)
    {
        Cases.Copy(name, _place["case"]);
        return _place["case"];
    }

    private Run Aggregate(string cases, string output, params string[] more) => Tool.Run(
    [
        "aggregate", "--strategy", "fedavg", "--global", Path.Combine(cases, "global"), "--client", Path.Combine(cases, "a"), "--client", Path.Combine(cases, "b"),
        "--output", _place[output], .. more,
    ]);

    private static string Digest(string path)
    {
        using TensorSource model = TensorSource.Open(path);
        return ModelDigest.Compute(model);
    }

    private static double[] Values(TensorSource model, TensorInfo tensor)
    {
        byte[] data = Place.Data(model, tensor);
        return [.. Enumerable.Range(0, data.Length / 8).Select(i => BitConverter.ToDouble(data, 8 * i))];
    }
}
