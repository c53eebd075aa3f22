namespace FedICU.Cli.Tests;

/// <summary>
/// Runs the small inputs from public bug reports (shared/cases), as their README describes.
/// <see cref="PublishingTests"/> has those about outputs.
/// </summary>
internal sealed class SharedCasesTests
{
    private static readonly string[] Faults =
    [
        "nonfinite", "missing", "extra", "shape", "dtype", "base", "unreadable", "weight", "config", "quantized", "changed", "stale",
    ];

    private static readonly string[] DropAll =
        [.. Faults.SelectMany(fault => new[] { "--set", $"on-{fault}=drop-client" }), "--set", "quorum=1"];

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
        Assert.That(Place.Digest(_place["balanced"]), Is.EqualTo(Place.Digest(_place["plain"])));
        Assert.That(balanced.Output, Does.Contain("target_parameters").And.Contain("experts"));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_place["report.json"])).LoraPairs, Is.Empty);
        Assert.That(plain.Output, Does.Not.Contain("cross-term"));
    }

    [Test]
    public void FourBitCodesAreRefusedOrKept()
    {
        string cases = Case("nf4-codes"), global = Path.Combine(cases, "global-bnb.safetensors"), output = _place["next.safetensors"];
        string[] line =
        [
            "aggregate", "--strategy", "fedavg", "--global", global, "--client", Path.Combine(cases, "a-bnb.safetensors"),
            "--client", Path.Combine(cases, "b-bnb.safetensors"), "--output", output,
        ];
        Tool.Run(line).Failed(1, "is quantized", "bitsandbytes 4-bit", "on-quantized=keep");
        Assert.That(File.Exists(output), Is.False);
        Tool.Run([.. line, "--set", "on-quantized=drop-client", "--set", "quorum=1"]).Failed(1, "bitsandbytes 4-bit");
        Run kept = Tool.Run([.. line, "--set", "on-quantized=keep"]).Succeeded();
        Assert.That(kept.Output, Does.Contain("bitsandbytes 4-bit"));
        Assert.That(Place.Digest(output), Is.EqualTo(Place.Digest(global)), "the model has no other tensors");
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
    public void DifferentLoHaAlphasAreRefused()
    {
        string cases = Case("loha-alpha");
        Aggregate(cases, "next").Failed(1, "adapter_config.json", "alpha", "8", "32");
        Assert.That(Directory.Exists(_place["next"]), Is.False);
    }

    [Test]
    public void PathsOfTheSameBaseModelCanBeIgnored()
    {
        string cases = Case("base-model-path");
        Aggregate(cases, "next").Failed(1, "base_model_name_or_path");
        Aggregate(cases, "next", "--set", "on-config=ignore-base").Succeeded();
    }

    [Test]
    public void ClientsWithWrongWeightsAreDropped()
    {
        string cases = Case("metadata-weights");
        string[] clients = [.. Directory.GetFiles(cases, "m*.safetensors").Order(StringComparer.Ordinal)];
        string[] line =
        [
            .. _place.RoundLine(clients, _place["next.safetensors"], Path.Combine(cases, "g.safetensors"), "fedavg"),
            "--report", _place["report.json"],
        ];
        Tool.Run(line).Failed(1, "has the weight -5");
        Tool.Run([.. line, .. DropAll]).Succeeded();
        RoundReport report = RoundReport.FromJson(File.ReadAllText(_place["report.json"]));
        foreach (ClientReport client in report.Clients)
        {
            using TensorSource update = TensorSource.Open(client.Id);
            string stated = update.Metadata.GetValueOrDefault("num_examples", "none");
            bool isValid = double.TryParse(stated, System.Globalization.CultureInfo.InvariantCulture, out double weight)
                && weight > 0 && double.IsFinite(weight);
            Assert.That(client.Included, Is.EqualTo(isValid), $"{client.Id} states {stated}: {client.Reason}");
        }

        Assert.That(report.Clients.Count(client => client.Included), Is.GreaterThan(0));
    }

    [Test]
    public void AMeanThatFitsFloat64DoesNotOverflow()
    {
        string cases = Case("float64-minimum"), output = _place["next.safetensors"];
        string[] clients = [Path.Combine(cases, "min64_a.safetensors"), Path.Combine(cases, "min64_b.safetensors")];
        Tool.Run(_place.RoundLine(clients, output, Path.Combine(cases, "min64_g.safetensors"), "fedavg")).Succeeded();
        using TensorSource next = TensorSource.Open(output), a = TensorSource.Open(clients[0]), b = TensorSource.Open(clients[1]);
        foreach (TensorInfo tensor in next.Tensors)
        {
            double[] means = Values(next, tensor), first = Values(a, tensor), second = Values(b, tensor);
            for (int i = 0; i < means.Length; i++)
                Assert.That(means[i], Is.EqualTo(first[i] / 2 + second[i] / 2).Within(1).Ulps, $"{tensor.Name}[{i}]");
        }
    }

    [Test]
    public void AChangedOneElementTensorIsSent()
    {
        string cases = Case("one-element-mask"), local = Path.Combine(cases, "local.safetensors");
        Tool.Run(
            "mask", "--global", Path.Combine(cases, "global.safetensors"), "--local", local, "--output", _place["update.safetensors"],
            "--dense").Succeeded();
        using TensorSource sent = TensorSource.Open(_place["update.safetensors"]), trained = TensorSource.Open(local);
        foreach (TensorInfo tensor in trained.Tensors.Where(tensor => tensor.ElementCount == 1))
            Assert.That(Place.Data(sent, sent.Find(tensor.Name)!), Is.EqualTo(Place.Data(trained, tensor)), tensor.Name);
    }

    private string Case(string name)
    {
        Cases.Copy(name, _place["case"]);
        return _place["case"];
    }

    private Run Aggregate(string cases, string output, params string[] more)
    {
        string[] clients = [Path.Combine(cases, "a"), Path.Combine(cases, "b")];
        return Tool.Run([.. _place.RoundLine(clients, _place[output], Path.Combine(cases, "global"), "fedavg"), .. more]);
    }

    private static double[] Values(TensorSource model, TensorInfo tensor)
    {
        byte[] data = Place.Data(model, tensor);
        return [.. Enumerable.Range(0, data.Length / 8).Select(i => BitConverter.ToDouble(data, 8 * i))];
    }
}
