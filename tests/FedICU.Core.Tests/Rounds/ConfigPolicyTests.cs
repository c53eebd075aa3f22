using System.Text;

namespace FedICU.Tests.Rounds;

/// <summary>Clients whose adapter configurations disagree, under each policy of <c>on-config</c>.</summary>
internal sealed class ConfigPolicyTests : FolderFixture
{
    [Test]
    public void ADisagreementIsRefusedByDefault()
    {
        using PeftAdapter global = Global(Lora(8));
        Assert.That(() => Run(global, new RoundOptions(), ("a", Lora(8)), ("b", Lora(4))), Throws.TypeOf<RoundRejectedException>()
            .With.Property("Fault").EqualTo(RoundFault.Config).And.Property("ClientId").EqualTo("b")
            .And.Message.EqualTo($"Client 'b' ('{Folder["b"]}'): its adapter_config.json disagrees with the global adapter's: r 4 " +
                "against 8."));
    }

    [Test]
    public void DropClientLeavesOutClientsThatDisagree()
    {
        using PeftAdapter global = Global(Lora(8));
        RoundReport report = Run(global, Drop, ("a", Lora(8)), ("b", Lora(4)), ("c", """{"peft_type": "LOHA"}"""));
        Assert.That(report.Clients.Select(client => client.Included), Is.EqualTo(new[] { true, false, false }));
        Assert.That(report.Clients[1].Reason, Does.EndWith("its adapter_config.json disagrees with the global adapter's: r 4 against 8."));
        Assert.That(report.Clients[2].Reason,
            Does.EndWith("its adapter_config.json disagrees with the global adapter's: peft_type 'LOHA' against 'LORA'."));
    }

    /// <summary>The configuration of most clients is expected, not the first client's.</summary>
    [Test]
    public void WithoutAGlobalAdapterMostClientsDecide()
    {
        RoundReport report = Run(Model, Drop, ("a", Lora(4)), ("b", Lora(8)),
            ("c", """{"lora_alpha": 8.0, "r": 8, "peft_type": "LORA", "revision": "x"}"""), ("d", Lora(2)));
        Assert.That(report.Clients.Select(client => client.Included), Is.EqualTo(new[] { false, true, true, false }));
        Assert.That(report.Clients[0].Reason,
            Is.EqualTo($"Client 'a' ('{Folder["a"]}'): its adapter_config.json disagrees with that of client 'b' and 1 other: r 4 " +
            "against 8."));
    }

    [Test]
    public void AmongEqualGroupsTheFirstClientDecides()
    {
        RoundReport report = Run(Model, Drop, ("d", Lora(4)), ("c", Lora(8)), ("b", Lora(4)), ("a", Lora(8)));
        Assert.That(report.Clients.Select(client => client.Included), Is.EqualTo(new[] { true, false, true, false }));
        Assert.That(report.Clients[1].Reason, Does.Contain("that of client 'a' and 1 other"));
    }

    [Test]
    public void IgnoreBaseAcceptsLocalPathsOfTheBaseModel()
    {
        (string, string)[] clients = [("a", Lora(8, "/home/one/models/base")), ("b", Lora(8, "C:\\\\models\\\\base"))];
        using PeftAdapter global = Global(Lora(8, "org/base"));
        Assert.That(() => Run(global, new RoundOptions(), clients), Throws.TypeOf<RoundRejectedException>().With.Message.EndsWith(
            "disagrees with the global adapter's: base_model_name_or_path '/home/one/models/base' against 'org/base'."));
        Assert.That(Run(global, Ignore, clients).Clients.Select(client => client.Included), Is.All.True);
        Assert.That(Run(Model, Ignore, clients).Clients.Select(client => client.Included), Is.All.True);
        Assert.That(() => Run(global, Ignore, ("a", Lora(4, "/x"))),
            Throws.TypeOf<RoundRejectedException>().With.Message.EndsWith("r 4 against 8."));
    }

    [Test]
    public void ATrailingSlashIsIgnored()
    {
        using PeftAdapter global = Global(Lora(8, "org/base"));
        Assert.That(Run(global, new RoundOptions(), ("a", Lora(8, "org/base/"))).Clients[0].Included, Is.True);
    }

    [Test]
    public void TheQuorumCountsTheRemainingClients()
    {
        using PeftAdapter global = Global(Lora(8));
        Assert.That(() => Run(global, Drop with { Quorum = 2 }, ("a", Lora(8)), ("b", Lora(4))),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith(
            "1 of 2 clients remains; the quorum is 2. Client 'b' "));
    }

    [TestCase("{"), TestCase("[]"), TestCase("{\"r\": 0}"), TestCase("{\"r\": 1e400}"), TestCase("{\"peft_type\": 1}"),
        TestCase("{\"r\": 1, \"r\": 2}")]
    [TestCase("{\"lora_alpha\": 99999999999999999999999999999e999}")]
    public void AnInvalidConfigurationIsUnreadable(string json)
    {
        using PeftAdapter global = Global(Lora(8));
        Put("b", Lora(8));
        File.WriteAllText(Path.Combine(Folder["b"], "adapter_config.json"), json);
        Put("a", Lora(8));
        ClientUpdate[] clients = [ClientUpdate.FromFile("a", Folder["a"], 1), ClientUpdate.FromFile("b", Folder["b"], 1)];
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, clients),
            Throws.TypeOf<RoundRejectedException>().With.Property("Fault").EqualTo(RoundFault.Unreadable));
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), global, clients,
            new RoundOptions { OnUnreadable = FaultPolicy.DropClient, Quorum = 1 });
        Assert.That(report.Clients.Select(client => client.Included), Is.EqualTo(new[] { true, false }));
    }

    /// <summary>AdaLoRA's rank_pattern contains lists of booleans.</summary>
    [Test]
    public void ARoundOfAdaLoraAdaptersRuns()
    {
        const string Config = """
            {"peft_type": "ADALORA", "r": 8, "target_r": 4, "init_r": 6, "lora_alpha": 16, "target_modules": ["q_proj"], "total_step": 20,
             "rank_pattern": {"model.model.layers.0.self_attn.q_proj.lora_E": [true, false, true, true, false, true]}, "alpha_pattern": {}}
            """;
        using PeftAdapter global = Global(Config);
        Assert.That(Run(global, new RoundOptions(), ("a", Config), ("b", Config)).Clients.Select(client => client.Included), Is.All.True);
        Assert.That(() => Run(global, new RoundOptions(), ("c", Config.Replace("[true, false", "[false, true", StringComparison.Ordinal))),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("rank_pattern"));
    }

    [TestCase("lora_down.weight", "lora_up.weight"), TestCase("hada_w1_a", "hada_w1_b"), TestCase("lokr_w1", "lokr_w2")]
    public void ThePolicyAppliesToKohyasAlphas(string first, string second)
    {
        MemoryModel Module(float alpha) =>
            new() { { "x." + first, [2, 2], new float[4] }, { "x." + second, [2, 2], new float[4] }, { "x.alpha", [], new[] { alpha } } };
        ClientUpdate[] clients = [ClientUpdate.FromTensors("a", Module(4), 1), ClientUpdate.FromTensors("b", Module(8), 1)];
        Assert.That(() => Models.Run(new FedAvgAggregator(), Module(4), clients),
            Throws.TypeOf<RoundRejectedException>().With.Property("Fault").EqualTo(RoundFault.Config)
            .And.Message.EqualTo("Client 'b': 'x.alpha' is 8; the global model's 4 was expected."));
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), Module(4), clients, Drop);
        Assert.That(report.Clients.Select(client => client.Included), Is.EqualTo(new[] { true, false }));
        Models.Run(new FedAvgAggregator(), Module(4), [ClientUpdate.FromTensors("d", Module(0), 1, UpdateKind.Delta)]).Sink.Dispose();
    }

    [Test]
    public void AnAlphaWithoutFactorsIsAveraged()
    {
        MemoryModel Module(float alpha) => new() { { "x.weight", [2, 2], new float[4] }, { "x.alpha", [1], new[] { alpha } } };
        (_, MemorySink sink) = Models.Run(new FedAvgAggregator(), Module(4),
            [ClientUpdate.FromTensors("a", Module(4), 1), ClientUpdate.FromTensors("b", Module(8), 1)]);
        using (sink)
            Assert.That(sink.Model.ToArray<float>("x.alpha"), Is.EqualTo(new[] { 6f }));
    }

    private static RoundOptions Drop => new() { OnConfig = ConfigPolicy.DropClient, Quorum = 1 };

    private static RoundOptions Ignore => new() { OnConfig = ConfigPolicy.IgnoreBase };

    private static MemoryModel Model => Models.Of("w", [2], 1, 2);

    private static string Lora(int rank, string? path = null) =>
        $$"""{"peft_type": "LORA", "r": {{rank}}{{(path is null ? "" : $", \"base_model_name_or_path\": \"{path}\"")}}}""";

    private PeftAdapter Global(string config)
    {
        Put("global", config);
        return PeftAdapter.Open(Folder["global"]);
    }

    private void Put(string name, string config) =>
        Model.SaveTo(TensorSink.ToAdapterFolder(Folder[name], PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(config), "test")));

    private RoundReport Run(TensorSource global, RoundOptions options, params (string Id, string Config)[] clients)
    {
        foreach ((string id, string config) in clients)
            Put(id, config);
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), global,
            clients.Select(client => ClientUpdate.FromFile(client.Id, Folder[client.Id], 1)), options);
        return report;
    }
}
