using FedICU.Model;

namespace FedICU.Tests;

/// <summary>Names with the prefixes of wrappers, and names that metadata tie to other names.</summary>
internal sealed class TensorNamesTests
{
    private static readonly RoundOptions Stripping = new() { StripPrefixes = ["module.", "_orig_mod."] };

    [TestCase("w", "w"), TestCase("module.w", "w"), TestCase("_orig_mod.module.module.w", "w"), TestCase("a.module.w", "a.module.w"),
        TestCase("module.", "module."), TestCase("modulex.w", "modulex.w")]
    public void PrefixesAreStripped(string name, string stripped) =>
        Assert.That(new TensorNames(["module.", "_orig_mod."]).Strip(name), Is.EqualTo(stripped));

    [TestCase("w", "module.w"), TestCase("module.w", "w"), TestCase("_orig_mod.w", "module.w"), TestCase("w", "w")]
    public void ClientsAreMatchedAndTheOutputHasTheGlobalsNames(string ofGlobal, string ofClient)
    {
        foreach (UpdateKind kind in new[] { UpdateKind.Full, UpdateKind.Delta, UpdateKind.Sparse })
        {
            MemoryModel global = Models.Of(ofGlobal, [2], 1, 2);
            (_, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [Client(kind, ofClient, global)], Stripping);
            using (sink)
                Assert.That(sink.Model.ToArray<float>(ofGlobal), Is.EqualTo(new float[] { 5, 2 }), kind.ToString());
        }

        static ClientUpdate Client(UpdateKind kind, string name, TensorSource global)
        {
            if (kind != UpdateKind.Sparse)
                return ClientUpdate.FromTensors("x", Models.Of(name, [2], kind == UpdateKind.Full ? [5, 2] : [4, 0]), 1, kind);
            var packed = new MemoryModel(new Dictionary<string, string>
            {
                [MetadataKeys.Update] = "sparse",
                [MetadataKeys.Base] = ModelDigest.Compute(global),
                [MetadataKeys.ShapePrefix + name] = "[2]",
            });
            packed.Add(name + "#values", [1], new float[] { 5 });
            packed.Add(name + "#mask", [1], new byte[] { 1 });
            return ClientUpdate.FromTensors("x", packed, 1);
        }
    }

    [Test]
    public void WithoutTheOptionTheErrorSuggestsIt() => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Models.Of("w", [1], 1), [ClientUpdate.FromTensors("x", Models.Of("module.w", [1], 2), 1)]),
        Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
            "Client 'x': tensor 'w' is missing; F32 [1] was expected; names that differ by the prefixes of PyTorch's wrappers are " +
                "matched with strip-prefix=true."));

    [Test]
    public void TwoTensorsOfOneNameAreRefused()
    {
        MemoryModel twice = new() { { "w", [1], new float[1] }, { "module.w", [1], new float[1] } };
        Assert.That(() => Models.Run(new FedAvgAggregator(), Models.Of("w", [1], 1), [ClientUpdate.FromTensors("x", twice, 1)], Stripping),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains(
                "tensors 'w' and 'module.w' have the same name without prefixes"));
        Assert.That(() => Models.Run(new FedAvgAggregator(), twice, [ClientUpdate.FromTensors("x", Models.Of("w", [1], 1), 1)], Stripping),
            Throws.TypeOf<InvalidModelException>().With.Message.Contains("have the same name without prefixes"));
    }

    [Test]
    public void TiedNamesAreResolved()
    {
        MemoryModel global = new() { { "embed", [2], new float[] { 1, 2 } }, { "head", [2], new float[] { 1, 2 } } };
        MemoryModel Tied(string kept, string removed) =>
            new(new Dictionary<string, string> { [removed] = kept }) { { kept, [2], new float[] { 3, 4 } } };
        ClientUpdate[] clients = [ClientUpdate.FromTensors("a", Tied("embed", "head"), 1),
            ClientUpdate.FromTensors("b", Tied("head", "embed"), 1)];
        foreach (RoundOptions options in new[] { new RoundOptions(), Stripping })
        {
            (_, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, clients, options);
            using (sink)
                Assert.That((sink.Model.ToArray<float>("embed"), sink.Model.ToArray<float>("head")),
                    Is.EqualTo((new float[] { 3, 4 }, new float[] { 3, 4 })));
        }

        // the global model has the other one of the two names
        (_, MemorySink one) = Models.Run(new FedAvgAggregator(), Tied("head", "embed"), [clients[0]]);
        using (one)
            Assert.That(one.Model.ToArray<float>("head"), Is.EqualTo(new float[] { 3, 4 }));
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("c", Tied("embed", "other"), 1)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("tensor 'head' is missing"));
    }

    [Test]
    public void AMaskResolvesTiedNames()
    {
        MemoryModel global = new() { { "embed", [3], new float[] { 3, 2, 1 } }, { "head", [3], new float[] { 3, 2, 1 } } };
        var local = new MemoryModel(new Dictionary<string, string> { ["head"] = "embed" });
        local.Add("embed", [3], new float[] { 3, 9, 1 });
        using var sink = new MemorySink();
        new FedIcuClient().CreateUpdate(global, local, sink, dense: true);
        foreach (string name in new[] { "embed", "head" })
            Assert.That(sink.Model.ToArray<float>(name), Is.EqualTo(new float[] { 3, 9, 1 }), name);
    }
}
