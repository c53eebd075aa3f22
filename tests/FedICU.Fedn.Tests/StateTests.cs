using System.Runtime.Versioning;
using Grpc.Core;
using static FedICU.Fedn.Tests.Rounds;

namespace FedICU.Fedn.Tests;

/// <summary>A rule's state goes on after a restart, belongs to one model, and follows what the combiner has.</summary>
internal sealed class StateTests
{
    private const string Strategy = "krum,fedadam", Rate = "server-lr=0.5";

    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("fedicu-fedn-state-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task ARestartedServiceGoesOnWithTheState()
    {
        (byte[] first, MemoryModel model, RoundState state) = Run(Archives.Model(1), RoundState.InMemory());
        byte[] second = Run(model, state).Archive;
        string url;
        byte[] next;
        await using (FednServer server = await StartAsync())
        {
            url = server.Urls[0];
            using FednCombiner combiner = server.Combiner();
            next = await combiner.RoundAsync(Global, RoundClients);
            Assert.That(Contents(next), Is.EqualTo(Contents(first)));
        }

        await using (FednServer server = await StartAsync($"--Kestrel:Endpoints:Fedn:Url={url}"))
        {
            using FednCombiner combiner = server.Combiner();
            Assert.That(Contents(await combiner.RoundAsync(next, RoundClients)), Is.EqualTo(Contents(second)));
        }

        Assert.That(Contents(second), Is.Not.EqualTo(Contents(Run(model, RoundState.InMemory()).Archive)), "the state has an effect");
    }

    /// <summary>The combiner may never receive a round's model, and begin again with the one before.</summary>
    [Test]
    public async Task ARoundWhoseModelWasLostHasNoEffectOnTheState()
    {
        await using FednServer server = await StartAsync();
        using FednCombiner combiner = server.Combiner();
        byte[] first = await combiner.RoundAsync(Global, RoundClients);
        Assert.That(Contents(await combiner.RoundAsync(Global, RoundClients)), Is.EqualTo(Contents(first)), "the first round again");
        byte[] second = await combiner.RoundAsync(first, RoundClients);
        Assert.That(Contents(await combiner.RoundAsync(first, RoundClients)), Is.EqualTo(Contents(second)), "the second round again");
    }

    [Test]
    public async Task AStateOfAnotherModelIsRefused()
    {
        await using FednServer server = await StartAsync();
        using FednCombiner combiner = server.Combiner();
        await combiner.RoundAsync(await combiner.RoundAsync(Global, RoundClients), RoundClients);
        Status status = Failure(() => combiner.RoundAsync(Archives.Of(Archives.Model(9)), RoundClients));
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        Assert.That(status.Detail, Does.Contain("the state belongs to the model").And.Not.Contains(_folder));
        Assert.That(Directory.GetFiles(_folder), Has.Length.GreaterThan(0), "the state stays");
    }

    /// <summary>A sentence with a long path is cut in the middle, so it no longer contains the whole path.</summary>
    [Test]
    public async Task ARefusalShowsNoPathOfTheServer()
    {
        string deep = Path.Combine([_folder, .. Enumerable.Repeat(new string('d', 200), 6)]);
        await using FednServer server = await FednServer.StartAsync(Strategy, $"--FedIcu:State={deep}", $"--FedIcu:Settings:{Rate}");
        using FednCombiner combiner = server.Combiner();
        await combiner.RoundAsync(await combiner.RoundAsync(Global, RoundClients), RoundClients);
        string detail = Failure(() => combiner.RoundAsync(Archives.Of(Archives.Model(9)), RoundClients)).Detail;
        Assert.That(detail, Does.Not.Contain("/").And.Not.Contain("ddd"));
    }

    [Test]
    [UnsupportedOSPlatform("windows")]
    [Platform(Exclude = "Win", Reason = "Windows has no file modes")]
    public void AStateFolderThatOthersCanReadEndsTheStart()
    {
        File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);
        string sentence = $"The state folder '{_folder}' has the mode 0755; 0700 was expected";
        Assert.That(() => StartAsync(), Throws.InstanceOf<FedIcuException>().With.Message.StartWith(sentence));
    }

    [Test]
    public void CombinersWithSimilarNamesHaveFilesOfTheirOwn()
    {
        string next = Path.Combine(_folder, "a.next.safetensors");
        File.WriteAllText(next, "the state of the combiner a.next");
        new CombinerState(_folder, "a").Open("sha256:0");
        Assert.That(File.Exists(next));
        string longName = new('a', 200), hash = CombinerName.ToFileName(longName);
        Assert.That(CombinerName.ToFileName(hash), Is.Not.EqualTo(hash));
        Assert.That(CombinerName.ToFileName(hash.Trim(CombinerName.Separator)), Is.Not.EqualTo(hash));
        Assert.That(CombinerName.ToFileName("A:1"), Is.EqualTo(CombinerName.ToFileName("a:1")));
    }

    [TestCase("fedavg", "s", "FedIcu:State is 's', but 'fedavg' keeps no state between rounds.")]
    [TestCase("fedadam", "", "FedIcu:State is empty; a folder was expected.")]
    public void AWrongStateEndsTheStart(string strategy, string state, string sentence) => Assert.That(
        () => FednHost.Build([$"--FedIcu:Strategy={strategy}", $"--FedIcu:State={state}"]),
        Throws.TypeOf<InvalidOptionsException>().With.Message.EqualTo(sentence));

    private Task<FednServer> StartAsync(params string[] settings) =>
        FednServer.StartAsync(Strategy, [$"--FedIcu:State={_folder}", $"--FedIcu:Settings:{Rate}", .. settings]);

    /// <summary>Aggregates the clients by the library without the bridge.</summary>
    private static (byte[] Archive, MemoryModel Model, RoundState State) Run(MemoryModel global, RoundState state)
    {
        (byte[] archive, MemoryModel model) = Expected(Strategy, global, RoundClients, state, Rate);
        return (archive, model, state);
    }
}
