using System.Text;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// The check of a round: faults of the global model, of the output's path, and of several clients at once.
/// </summary>
internal sealed class RoundCheckTests
{
    private static readonly MemoryModel Global = Model();

    [TestCase("fedicu.update", "delta", "metadata 'fedicu.update' is 'delta'; a whole model (full) was expected.")]
    [TestCase("fedicu.update", "sparse", "metadata 'fedicu.update' is 'sparse'; a whole model (full) was expected.")]
    [TestCase("fedicu.state", "momentum", "metadata 'fedicu.state' is 'momentum', a state; a model was expected.")]
    public void AGlobalModelThatIsNotWholeIsRefused(string key, string value, string sentence)
    {
        RoundRejectedException refused = Refused(Model((key, value)), [Client("a", Model())]);
        Assert.That((refused.Message, refused.ClientId), Is.EqualTo(($"'memory': {sentence}", (string?)null)));
        Models.Run(new FedAvgAggregator(), Model(("fedicu.update", "full")), [Client("a", Model())]).Sink.Dispose();
    }

    [Test]
    public void AWrongModelIsReportedBeforeAMissingWeight()
    {
        ClientUpdate good = ClientUpdate.FromTensors("good", Model(("num_examples", "3"))),
            silent = ClientUpdate.FromTensors("silent", Model()),
            wrong = ClientUpdate.FromTensors("wrong", Models.Of("w", [1], 1));
        Assert.That(Refused(Global, [good, wrong]).Message, Is.EqualTo("Client 'wrong': tensor 'w' has the shape [1]; [2] was expected."));
        Assert.That(Refused(Global, [good, silent]).Message,
            Is.EqualTo("Client 'silent' states no num_examples, but client 'good' does; give every client a weight."));
        Assert.That(Refused(Global, [ClientUpdate.FromTensors("nothing", Model(), 0), silent]).Message,
            Does.StartWith("Client 'silent' states no num_examples, but client 'nothing' does"));
        // a client that is left out for its shape needs no weight, and does not decide about the others' weights
        var options = new RoundOptions { OnShape = FaultPolicy.DropClient, Quorum = 1 };
        Models.Run(new FedAvgAggregator(), Global, [good, wrong], options).Sink.Dispose();
        RoundReport report = Models.RunForReport(
            new FedAvgAggregator(), Global, [silent, ClientUpdate.FromTensors("wrong", Models.Of("w", [1], 1), 5)], options);
        Assert.That(report.Notes, Is.EqualTo(new[] { "No client states num_examples: every client weighs 1." }));
    }

    [Test]
    public void TheReasonOfADroppedTensorListsEveryFault()
    {
        var options = new RoundOptions { OnShape = FaultPolicy.DropTensor, OnMissing = FaultPolicy.DropTensor };
        ClientUpdate[] clients = [Client("a", Models.Of("w", [1], 1)), Client("b", Model()), Client("c", [])];
        Assert.That(Reason(clients),
            Is.EqualTo("Client 'a': tensor 'w' has the shape [1]; [2] was expected. Client 'c': tensor 'w' is missing; F32 [2] was " +
            "expected."));
        Assert.That(Reason([.. Enumerable.Range(0, 13).Select(k => Client($"{k:00}", []))]),
            Does.Contain("'09'").And.Not.Contain("'10'").And.EndsWith(" And 3 more."));

        string? Reason(ClientUpdate[] updates)
        {
            RoundReport report = Models.RunForReport(new FedAvgAggregator(), Global, updates, options);
            return report.Tensors.Single().Reason;
        }
    }

    [Test]
    public void TheExpectedTypesAreNamed()
    {
        MemoryModel whole = new() { { "w", [2], new long[2] } };
        Assert.That(Refused(Global, [Client("a", whole)]).Message,
            Is.EqualTo("Client 'a': tensor 'w' has the type I64; a float type (F64, F32, F16 or BF16) was expected."));
        Assert.That(Refused(whole, [Client("a", Model())]).Message,
            Is.EqualTo("Client 'a': tensor 'w' has the type F32; I64 was expected."));
    }

    [Test]
    public void MessagesUseSingularAndPlural()
    {
        var options = new RoundOptions { Quorum = 2 };
        Assert.That(Refused(Global, [Client("a", Model())], options).Message, Is.EqualTo("1 of 1 client remains; the quorum is 2."));
        Assert.That(Refused(Global, [Client("a", Models.Of("w", [2], float.NaN, 1))]).Message, Does.Contain("has 1 value that is NaN"));
        Assert.That(Refused(Global, [Client("a", Models.Of("w", [2], float.NaN, float.NaN))]).Message,
            Does.Contain("has 2 values that are NaN"));
    }

    [TestCase("a.safetensors", "./a.safetensors"), TestCase("a.safetensors", "b/../a.safetensors"), TestCase("adapter", "adapter/"),
        TestCase("adapter/adapter_model.safetensors", "adapter")]
    public void AClientsOwnFileIsNotReplaced(string client, string place)
    {
        using var folder = new TempFolder();
        var config = PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes("{}"), "test");
        Model().SaveTo(TensorSink.ToFile(folder["a.safetensors"]));
        Model().SaveTo(TensorSink.ToFile(folder["global.safetensors"]));
        Model().SaveTo(TensorSink.ToAdapterFolder(folder["adapter"], config));
        byte[] before = File.ReadAllBytes(folder["a.safetensors"]);
        using TensorSource global = TensorSource.Open(folder["global.safetensors"]), opened = TensorSource.Open(folder[client]);
        TensorSink output = place.EndsWith(".safetensors", StringComparison.Ordinal)
            ? TensorSink.ToFile(folder[place]) : TensorSink.ToAdapterFolder(folder[place], config);
        foreach (ClientUpdate update in (ClientUpdate[])[ClientUpdate.FromFile("k", folder[client], 1),
            ClientUpdate.FromTensors("k", opened, 1)])
        {
            Assert.That(() => new FedAvgAggregator().AggregateAsync(new AggregationRound(global) { update }, output).GetAwaiter()
                .GetResult(),
                Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                    $"Client 'k' ('{folder[client]}'): the output would replace its update; another place was expected."));
        }

        Assert.That(File.ReadAllBytes(folder["a.safetensors"]), Is.EqualTo(before));
        // the next global model may replace the last one
        new FedAvgAggregator().AggregateAsync(new AggregationRound(global) { Client("k", Model()) },
            TensorSink.ToFile(folder["global.safetensors"])).GetAwaiter().GetResult();
    }

    [Test]
    public void APackedUpdateWithoutAConfigIsNotNoted()
    {
        using var folder = new TempFolder();
        float[] received = [.. Enumerable.Range(0, 256).Select(i => (float)i)],
            trained = [.. received.Select((value, i) => value + (i < 8 ? 9 : 0))];
        Models.Of("w", [256], received)
            .SaveTo(TensorSink.ToAdapterFolder(folder["global"], PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes("{}"), "test")));
        using TensorSource global = TensorSource.Open(folder["global"]);
        using var packed = new MemorySink();
        new FedIcuClient().CreateUpdate(global, Models.Of("w", [256], trained), packed);
        Assert.That(packed.Model.Metadata[MetadataKeys.Update], Is.EqualTo("sparse"));
        Assert.That(Notes([Client("a", packed.Model), Client("b", packed.Model)]), Is.Empty);
        Assert.That(Notes([Client("a", Models.Of("w", [256], trained)), Client("b", packed.Model)]),
            Is.EqualTo(new[]
            {
                "Client 'a' came without the adapter_config.json that the global adapter has: there was nothing to compare.",
            }));
        Assert.That(Notes([Client("a", Models.Of("w", [256], trained)), ClientUpdate.FromFile("b", folder["global"], 1)]),
            Is.EqualTo(new[] { "Client 'a' came without the adapter_config.json that others have: there was nothing to compare." }));

        IReadOnlyList<string> Notes(ClientUpdate[] clients)
        {
            RoundReport report = Models.RunForReport(new FedAvgAggregator(), global, clients);
            return report.Notes;
        }
    }

    private static MemoryModel Model((string Key, string Value)? metadata = null) =>
        new(metadata is var (key, value) ? new Dictionary<string, string> { [key] = value } : null) { { "w", [2], new float[] { 1, 2 } } };

    private static ClientUpdate Client(string id, MemoryModel model) => ClientUpdate.FromTensors(id, model, 1);

    private static RoundRejectedException Refused(TensorSource global, ClientUpdate[] clients, RoundOptions? options = null) =>
        Assert.Throws<RoundRejectedException>(() => Models.Run(new FedAvgAggregator(), global, clients, options))!;
}
