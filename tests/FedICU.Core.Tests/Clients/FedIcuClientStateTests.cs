using FedICU.Compute;
using FedICU.Tests.Files;
using FedICU.Text;

namespace FedICU.Tests;

/// <summary>
/// What a client's files say of themselves: a momentum's round and base, and files that are no model, update or
/// momentum.
/// </summary>
internal sealed class FedIcuClientStateTests
{
    private static readonly MemoryModel Global = Model(null, 1, 2, 3);
    private static readonly MemoryModel Other = Model(null, 1, 2, 4);
    private static readonly MemoryModel Trained = Model(null, 2, 2, 7);

    [TestCase(null, null, null, null)]
    [TestCase(null, "3", null, "3")]
    [TestCase("4", "3", null, "4")]
    [TestCase("4", "3", 5L, "5")]
    public void TheMomentumStatesItsKindBaseAndRound(string? trained, string? received, long? option, string? expected)
    {
        using var momentum = new MemorySink();
        using var update = new MemorySink();
        MemoryModel global = Model(("round", received), 1, 2, 3);
        new FedIcuClient(new FedIcuClientOptions { Round = option }).CreateUpdate(
            global, Model(("round", trained), 2, 2, 7), update, momentumOutput: momentum);
        Assert.That(momentum.Model.Metadata[MetadataKeys.State], Is.EqualTo("momentum"));
        Assert.That(momentum.Model.Metadata[MetadataKeys.Base], Is.EqualTo(ModelDigest.Compute(global)));
        Assert.That(momentum.Model.Metadata.GetValueOrDefault(MetadataKeys.Round), Is.EqualTo(expected));
        Assert.That(update.Model.Metadata.GetValueOrDefault(MetadataKeys.Round), Is.EqualTo(option is null ? trained : expected));
        Assert.That(update.Model.Metadata.ContainsKey(MetadataKeys.State), Is.False);
    }

    [Test]
    public void AMomentumOfALaterRoundIsRefused()
    {
        using var kept = new MemorySink();
        using var update = new MemorySink();
        FedIcuClient In(long? round) => new(new FedIcuClientOptions { Round = round });
        In(7).CreateUpdate(Global, Trained, update, momentumOutput: kept);
        string digest = ModelDigest.Compute(Global), other = ModelDigest.Compute(Other);
        // allowed: the next round with another model, and the same update again
        In(8).CreateUpdate(Other, Trained, update, kept.Model);
        In(7).CreateUpdate(Global, Trained, update, kept.Model);
        In(null).CreateUpdate(Other, Trained, update, kept.Model);
        Refused(() => In(6).CreateUpdate(Global, Trained, update, kept.Model),
            "'memory': the momentum is of round 7; one of a round before 6 was expected.");
        Refused(() => In(7).CreateUpdate(Other, Trained, update, kept.Model),
            $"'memory': the momentum was made in this round, 7, against the model {digest}; " +
            $"one of an earlier round, or made against {other}, was expected.");
        Refused(() => In(null).CreateUpdate(Global, Model(("round", "last"), 2, 2, 7), update, kept.Model),
            "'memory': metadata 'round' is 'last'; a whole number was expected.");
        Refused(() => In(8).CreateUpdate(Global, Trained, update, Model(("fedicu.state", "adam"), 0, 0, 0)),
            "'memory': metadata 'fedicu.state' is 'adam'; 'momentum' was expected.");
    }

    [Test]
    public void AStateIsNeitherAModelNorAnUpdate()
    {
        MemoryModel state = Model(("fedicu.state", "momentum"), 1, 2, 3);
        const string Sentence = "'memory': metadata 'fedicu.state' is 'momentum', a state; a model was expected.";
        Refused(() => new FedIcuClient().CreateUpdate(state, Trained, TensorSink.Discard), Sentence);
        Refused(() => new FedIcuClient().CreateUpdate(Global, state, TensorSink.Discard), Sentence);
        RoundRejectedException refused = Assert.Throws<RoundRejectedException>(
            () => Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("c", state)]))!;
        Assert.That(refused.Message,
            Is.EqualTo("Client 'c': 'memory': metadata 'fedicu.state' is 'momentum', a client's state; an update was expected."));
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Unreadable, "c")));
    }

    [TestCase("fedicu.update", "delta", "metadata 'fedicu.update' is 'delta', a client's update; a momentum was expected.")]
    [TestCase("fedicu.update", "sparse", "metadata 'fedicu.update' is 'sparse', a client's update; a momentum was expected.")]
    [TestCase("fedicu.update", "full", "metadata 'fedicu.state' is missing; 'momentum' was expected.")]
    [TestCase("num_examples", "7", "metadata 'fedicu.state' is missing; 'momentum' was expected.")]
    [TestCase("format", "pt", "metadata 'fedicu.state' is missing; 'momentum' was expected.")]
    public void OnlyAMomentumIsAveragedWithTheUpdate(string key, string value, string sentence)
    {
        MemoryModel other = Model((key, value), 1, 2, 3);
        Refused(() => new FedIcuClient().CreateUpdate(Global, Trained, TensorSink.Discard, other), $"'memory': {sentence}");
        // a supplied momentum need not say what it is, but an update says that it is an update
        void Supplied() => new FedIcuClient(new FedIcuClientOptions { Momentum = MomentumRule.Supplied }).CreateUpdate(
            Global, Trained, TensorSink.Discard, other);
        if (value is "delta" or "sparse")
            Refused(Supplied, $"'memory': {sentence}");
        else
            Supplied();
    }

    [Test]
    public void AFileWithoutMetadataIsAMomentumIfItsTypesFit()
    {
        MemoryModel global = new() { { "w", [3], new Half[3] } }, trained = new() { { "w", [3], new[] { (Half)1, (Half)2, (Half)3 } } };
        new FedIcuClient().CreateUpdate(global, trained, TensorSink.Discard, Model(null, 1, 2, 3));
        Refused(() => new FedIcuClient().CreateUpdate(global, trained, TensorSink.Discard, trained),
            "'memory': the momentum of tensor 'w' is F16 [3]; F32 [3] was expected.");
    }

    [Test]
    public void APackedUpdateIsOneFile()
    {
        using var folder = new TempFolder();
        Global.SaveTo(TensorSink.ToAdapterFolder(folder["adapter"], PeftAdapterConfig.Parse("{}"u8, "test")));
        using TensorSource adapter = TensorSource.Open(folder["adapter"]);
        TensorSink output = TensorSink.To(folder["update"], adapter);
        Assert.That(() => new FedIcuClient().CreateUpdate(adapter, Trained, output),
            Throws.TypeOf<FedIcuException>().With.Message.EqualTo(
                $"'{folder["update"]}': the packed update of an adapter is one file; TensorSink.ToFile or a dense update was expected."));
        Assert.That(Directory.Exists(folder["update"]), Is.False);
        new FedIcuClient().CreateUpdate(adapter, Trained, TensorSink.ToFile(folder["update.safetensors"]));
        new FedIcuClient().CreateUpdate(adapter, Trained, output, dense: true);
        using TensorSource update = TensorSource.Open(folder["update"]);
        Assert.That(update, Is.TypeOf<PeftAdapter>());
    }

    [TestCase("delta"), TestCase("sparse"), TestCase("thin")]
    public void OnlyAWholeModelIsMasked(string kind) => Refused(
        () => new FedIcuClient().CreateUpdate(Global, Model(("fedicu.update", kind), 2, 2, 7), TensorSink.Discard),
        $"'memory': metadata 'fedicu.update' is '{kind}'; a whole model (full) was expected.");

    [Test]
    public void ShapesInTheTrainedModelsMetadataAreNotCopied()
    {
        using var update = new MemorySink();
        new FedIcuClient().CreateUpdate(Global, Model(("fedicu.shape.v", "[3]"), 2, 2, 7), update, dense: true);
        Assert.That(update.Model.Metadata.Keys, Is.EquivalentTo(new[] { MetadataKeys.Base, MetadataKeys.Update }));
    }

    private static MemoryModel Model((string Key, string? Value)? metadata, params float[] values) =>
        new(metadata is { Value: { } value } stated ? new Dictionary<string, string> { [stated.Key] = value } : null)
        {
            { "w", [3], values },
        };

    private static void Refused(Action work, string sentence) =>
        Assert.That(work, Throws.TypeOf<InvalidModelException>().With.Message.EqualTo(sentence));
}
