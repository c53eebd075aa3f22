namespace FedICU.Tests;

/// <summary>Faults that a bridge to another framework finds before the library receives the client's tensors.</summary>
internal sealed class BridgeFaultTests
{
    private static readonly MemoryModel Global = new() { { "a", [2], new float[] { 1, 2 } }, { "b", [1], new float[] { 9 } } };
    private static readonly ClientUpdate Good = ClientUpdate.FromTensors("good", Model(), 1);

    private static IEnumerable<TestCaseData> Faults()
    {
        yield return Case(RoundFault.Unreadable, ClientUpdate.FromFault("bad", RoundFault.Unreadable, "its archive is broken."),
            new RoundOptions { Quorum = 1, OnUnreadable = FaultPolicy.DropClient }, "Client 'bad': its archive is broken.", null);
        yield return Case(RoundFault.Weight, ClientUpdate.FromFault("bad", RoundFault.Weight, "its weight is a word."),
            new RoundOptions { Quorum = 1, OnWeight = FaultPolicy.DropClient }, "Client 'bad': its weight is a word.", null);
        yield return Case(RoundFault.DType, Unknown("a"), new RoundOptions { Quorum = 1, OnDType = FaultPolicy.DropClient },
            "Client 'bad': tensor 'a' has the type complex128, which the library does not support; F32 [2] was expected.", "a");
        yield return Case(RoundFault.Extra, Unknown("c"), new RoundOptions { Quorum = 1, OnExtra = FaultPolicy.DropClient },
            "Client 'bad': tensor 'c' of the type complex128 is not in the global model.", "c");

        static TestCaseData Case(RoundFault fault, ClientUpdate bad, RoundOptions options, string sentence, string? tensor) =>
            new TestCaseData(fault, bad, options, sentence, tensor).SetArgDisplayNames(fault.ToString());
    }

    [TestCaseSource(nameof(Faults))]
    public void ThePolicyAppliesToABridgesFaults(RoundFault fault, ClientUpdate bad, RoundOptions options, string sentence, string? tensor)
    {
        RoundRejectedException refused =
            Assert.Throws<RoundRejectedException>(() => Models.Run(new FedAvgAggregator(), Global, [Good, bad]))!;
        Assert.That((refused.Message, refused.Fault, refused.ClientId, refused.Tensor), Is.EqualTo((sentence, fault, "bad", tensor)));
        (RoundReport report, MemorySink made) = Models.Run(new FedAvgAggregator(), Global, [Good, bad], options);
        using (made)
        {
            Assert.That(made.Model.ToArray<float>("a"), Is.EqualTo(new float[] { 3, 4 }));
            Assert.That(report.Clients.Single(client => !client.Included).Reason, Is.EqualTo(sentence));
        }
    }

    [Test]
    public void DropTensorKeepsOnlyTheTensorOfTheUnknownType()
    {
        var options = new RoundOptions { OnDType = FaultPolicy.DropTensor, OnExtra = FaultPolicy.DropTensor };
        (RoundReport report, MemorySink made) =
            Models.Run(new FedAvgAggregator(), Global, [Good, Unknown("a"), Unknown("c", "also")], options);
        using (made)
        {
            Assert.That(made.Model.ToArray<float>("a"), Is.EqualTo(new float[] { 1, 2 }));
            Assert.That(made.Model.ToArray<float>("b"), Is.EqualTo(new float[] { 5 }));
            Assert.That(report.Notes,
                Has.Some.EqualTo("Client 'also': tensor 'c' of the type complex128 is not in the global model. It was ignored."));
        }
    }

    [Test]
    public void NamesOfUnknownTypesAreComparedWithoutPrefixes()
    {
        var options = new RoundOptions { StripPrefixes = ["module."] };
        Assert.That(() => Models.Run(new FedAvgAggregator(), Global, [Good, Unknown("module.a")], options),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'bad': tensor 'a' has the type complex128"));
    }

    private static MemoryModel Model() => new() { { "a", [2], new float[] { 3, 4 } }, { "b", [1], new float[] { 5 } } };

    // the other tensors are without faults
    private static ClientUpdate Unknown(string tensor, string id = "bad")
    {
        var model = new MemoryModel();
        foreach (TensorInfo info in Model().Tensors.Where(info => !tensor.EndsWith(info.Name, StringComparison.Ordinal)))
            model.Add(info.Name, info.Shape.Dimensions, Model().ToArray<float>(info.Name));
        return ClientUpdate.FromTensors(id, model, 1, UpdateKind.Full, new Dictionary<string, string> { [tensor] = "complex128" });
    }
}
