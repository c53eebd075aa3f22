using FedICU.Files;
using FedICU.Model;
using FedICU.Rounds;

namespace FedICU.Tests;

/// <summary>What clients state about their training: by the caller, or in the update's metadata.</summary>
internal sealed class ClientStatementsTests : FolderFixture
{
    private static readonly (string, string)[] Metadata =
        [("local_steps", "4"), ("loss", "0.5"), ("staleness", "1.5"), ("normalizer", "2.5e0"), ("round", "3")];

    [Test]
    public void TheMetadataAreRead() => Assert.That(
        Read(9, null, Metadata),
        Is.EqualTo(new ClientStatements { LocalSteps = 4, Loss = 0.5, Staleness = 1.5, Normalizer = 2.5 }));

    [Test]
    public void TheCallerTakesPrecedence()
    {
        var stated = new ClientStatements { LocalSteps = 5, Loss = -1, Staleness = 0, Normalizer = 3, Control = "c" };
        Assert.That(Read(9, stated, Metadata), Is.EqualTo(stated));
        Assert.That(
            Read(9, new ClientStatements { Loss = 7 }, Metadata),
            Is.EqualTo(new ClientStatements { LocalSteps = 4, Loss = 7, Staleness = 1.5, Normalizer = 2.5 }));
        Assert.That(Read(9, new ClientStatements { Loss = 7 }, ("loss", "many")).Loss, Is.EqualTo(7));
    }

    [TestCase(9, "3", 6), TestCase(9, "11", -2), TestCase(null, "3", null), TestCase(9, null, null), TestCase(9, "third", null)]
    public void StalenessFollowsFromTheRounds(long? round, string? own, double? staleness) =>
        Assert.That(Read(round, null, own is null ? [] : [("round", own)]).Staleness, Is.EqualTo(staleness));

    [Test]
    public void WithoutStatementsAllIsNull() => Assert.That(Read(9, null), Is.EqualTo(new ClientStatements()));

    [Test]
    public void AValueThatIsNoNumberIsRefused([Values("local_steps", "loss", "staleness", "normalizer")] string key)
    {
        Assert.That(
            () => Read(9, null, (key, "many")),
            Throws.TypeOf<InvalidModelException>().With.Message.EqualTo($"'memory': metadata '{key}' is 'many'; a number was expected."));
        Assert.That(
            () => Read(9, null, (key, "NaN")),
            Throws.TypeOf<InvalidModelException>().With.Message.EqualTo($"{key} is NaN; a finite number was expected."));
    }

    [Test]
    public void AFileTakesStatementsAndABase()
    {
        using (TensorSource model = Create(("loss", "2"), ("fedicu.base", "sha256:00")))
            model.SaveTo(TensorSink.ToFile(Folder["k.safetensors"]));
        var update = ClientUpdate.FromFile(
            "k", Folder["k.safetensors"], baseDigest: "sha256:01", statements: new ClientStatements { LocalSteps = 8 });
        using var participant = new Participant(update, new TensorNames([]));
        participant.Open(new MemoryModel(), new RoundFiles(), CancellationToken.None);
        Assert.That(participant.BaseDigest, Is.EqualTo("sha256:01"));
        Assert.That(participant.ReadStatements(null), Is.EqualTo(new ClientStatements { LocalSteps = 8, Loss = 2 }));
    }

    private static ClientStatements Read(long? round, ClientStatements? stated, params (string, string)[] metadata)
    {
        using MemoryModel model = Create(metadata);
        using var participant = new Participant(ClientUpdate.FromTensors("k", model, statements: stated), new TensorNames([]));
        participant.Open(new MemoryModel(), new RoundFiles(), CancellationToken.None);
        return participant.ReadStatements(round);
    }

    private static MemoryModel Create(params (string Key, string Value)[] metadata) =>
        new(metadata.ToDictionary(entry => entry.Key, entry => entry.Value)) { { "w", [1], new float[1] } };
}
