using FedICU.Tests.Safetensors;
using FolderRounds;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>The sample samples/FolderRounds, end to end in a folder of its own.</summary>
internal sealed class FolderWorkerTests
{
    private TempFolder _folder = null!;

    [SetUp]
    public void MakeFolder()
    {
        _folder = new TempFolder();
        foreach (string name in (string[])["inbox", "done", "failed"])
            Directory.CreateDirectory(_folder[name]);
        Rounds.Model(0).SaveTo(TensorSink.ToFile(_folder["global.safetensors"]));
    }

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public async Task RoundsOverARestartAndABrokenFile()
    {
        Put("1", "a", 11);
        Put("1", "b", 12);
        Put("2", "a", 21);
        Ready("1");
        byte[] before = Global();
        byte[] first = await ExpectedAsync(_folder["inbox/1"], 1);
        using (IHost host = await StartAsync())
        {
            await UntilAsync(() => Directory.Exists(_folder["done/1"]));
            Assert.That(Global(), Is.EqualTo(first).And.Not.EqualTo(before), "the bits of the library called directly");
            Assert.That(Directory.Exists(_folder["inbox/2"]), "a round that is not ready waits");
            await host.StopAsync();
        }

        // while nobody watches
        Put("2", "b", 22);
        Ready("2");
        Put("3", "a", 31);
        File.WriteAllBytes(_folder["inbox/3/b.safetensors"], [1, 2, 3]);
        Ready("3");
        byte[] second = await ExpectedAsync(_folder["inbox/2"], 2);
        using (IHost host = await StartAsync())
        {
            await UntilAsync(() => Directory.Exists(_folder["failed/3"]));
            Assert.That(Global(), Is.EqualTo(second), "the broken round changes nothing");
            Assert.That(File.ReadAllText(_folder["failed/3/refusal.txt"]), Does.StartWith("Client 'b'").And.EndsWith("\n"));

            Put("4", "a", 41);
            byte[] third = await ExpectedAsync(_folder["inbox/4"], 4);
            Ready("4");
            await UntilAsync(() => Directory.Exists(_folder["done/4"]));
            Assert.That(Global(), Is.EqualTo(third));
            await host.StopAsync();
        }

        Assert.That(Names("inbox"), Is.Empty);
        Assert.That(Names("done"), Is.EqualTo(new[] { "1", "2", "4" }));
        RoundReport report = RoundReport.FromJson(File.ReadAllText(_folder["done/2/report.json"]));
        Assert.That((report.Round, report.Strategy, string.Join(",", report.Clients.Select(client => client.Id))), Is.EqualTo((2L, "fedicu", "a,b")));
        Assert.That(_folder.Names(), Is.EqualTo(new[] { ".lock", "done", "failed", "global.safetensors", "inbox" }), "no temporaries");
    }

    [Test]
    public async Task AQuorumAndAQuietTimeBeginARound()
    {
        var clock = new HandClock();
        using FolderWorker worker = Worker(new FedAvgAggregator(), new RoundOptions { Quorum = 2 }, TimeSpan.FromMinutes(5), clock);
        Put("7", "a", 1);
        await Look(TimeSpan.FromHours(1));
        await Look(TimeSpan.FromHours(1));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "7" }), "one client is no quorum");
        Put("7", "b", 2);
        await Look(TimeSpan.Zero);
        await Look(TimeSpan.FromMinutes(4));
        Put("7", "c", 3);
        await Look(TimeSpan.FromMinutes(4));
        await Look(TimeSpan.FromMinutes(4));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "7" }), "it has not been quiet for 5 minutes");
        await Look(TimeSpan.FromMinutes(2));
        Assert.That(Names("done"), Is.EqualTo(new[] { "7" }));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/7/report.json"])).Clients, Has.Count.EqualTo(3));

        async Task Look(TimeSpan later)
        {
            clock.Now += later.Ticks;
            await worker.ScanAsync(default);
        }
    }

    [Test]
    public async Task ARoundThatWasCutShortIsRunAgainAndGivesTheSameBits()
    {
        Put("5", "a", 51);
        Put("5", "b", 52);
        Ready("5");
        byte[] expected = await ExpectedAsync(_folder["inbox/5"], 5), before = Global();
        using (FolderWorker worker = Worker(new CutShort()))
            Assert.ThrowsAsync<OperationCanceledException>(() => worker.ScanAsync(default));
        Assert.That(Global(), Is.EqualTo(before));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "5" }));
        using (FolderWorker worker = Worker())
            await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(expected));
        Assert.That(Names("done"), Is.EqualTo(new[] { "5" }));
    }

    [Test]
    public async Task ARoundThatWasOverBeforeACrashIsNotRunAgain()
    {
        // the state between the new global model and the folder's move
        Put("6", "a", 61);
        Ready("6");
        using (TensorSource global = TensorSource.Open(_folder["global.safetensors"]))
            File.WriteAllText(_folder["inbox/6/base"], ModelDigest.Compute(global));
        File.WriteAllBytes(_folder["global.safetensors"], await ExpectedAsync(_folder["inbox/6"], 6));
        byte[] after = Global();
        Put("2", "a", 21);
        Ready("2");
        byte[] next = await ExpectedAsync(_folder["inbox/2"], 2);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("done"), Is.EqualTo(new[] { "2", "6" }));
        Assert.That(Global(), Is.EqualTo(next).And.Not.EqualTo(after), "6 was put away first, then 2 ran once over it");
    }

    [Test]
    public async Task RoundsThatCannotBeAreRefusedWithASentence()
    {
        Put("first", "a", 1);
        Ready("first");
        Directory.CreateDirectory(_folder["inbox/8"]);
        Ready("8");
        Directory.CreateDirectory(_folder["done/9"]);
        Put("9", "a", 1);
        Ready("9");
        Directory.CreateDirectory(_folder["failed/9"]);
        byte[] before = Global();
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("failed"), Is.EqualTo(new[] { "8", "9", "9.2", "first" }));
        Assert.That(File.ReadAllText(_folder["failed/first/refusal.txt"]), Is.EqualTo("The round's folder is named 'first'; a whole number was expected.\n"));
        Assert.That(File.ReadAllText(_folder["failed/9.2/refusal.txt"]), Is.EqualTo("Round 9 is done already.\n"));
        Assert.That(File.ReadAllText(_folder["failed/8/refusal.txt"]), Does.Contain("client"));
        Assert.That(Global(), Is.EqualTo(before));
    }

    [Test]
    public async Task WhereTheGlobalModelCannotBeReadRoundsWait()
    {
        Put("1", "a", 11);
        Ready("1");
        byte[] expected = await ExpectedAsync(_folder["inbox/1"], 1), global = Global();
        File.WriteAllBytes(_folder["global.safetensors"], [0]);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "1" }));
        File.WriteAllBytes(_folder["global.safetensors"], global);
        await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(expected));
    }

    [Test]
    public async Task UploadsUnderWayAreNotRead()
    {
        Put("1", "a", 11);
        File.WriteAllBytes(_folder["inbox/1/.b.safetensors"], [0]);
        File.WriteAllBytes(_folder["inbox/1/b.safetensors.part"], [0]);
        Ready("1");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/1/report.json"])).Clients.Select(client => client.Id), Is.EqualTo(new[] { "a" }));
    }

    [Test]
    public async Task ASecondWorkerIsKeptOut()
    {
        using IHost first = await StartAsync();
        await UntilAsync(() => File.Exists(_folder[".lock"]));
        using FolderWorker second = Worker();
        await second.StartAsync(default);
        Assert.That(async () => await second.ExecuteTask!, Throws.TypeOf<FedIcuException>().With.Message.Contains("another worker may have it"));
        await first.StopAsync();
    }

    [TestCase("Folder:Path", "", "Option 'Folder:Path' is missing; the folder to watch was expected.")]
    [TestCase("Folder:Poll", "0", "Option 'Folder:Poll' is no time to wait; more than 0 was expected.")]
    [TestCase("Folder:QuietTime", "-1", "Option 'Folder:QuietTime' is negative; at least 0 was expected.")]
    [TestCase("FedICU:Strategy", "none", "The strategy 'none' is unknown; fedavg, fedprox, fedicu are known.")]
    public void OptionsThatAreWrongEndTheStart(string name, string value, string sentence)
    {
        using IHost host = Build((name, value));
        Assert.That(() => host.StartAsync(), Throws.TypeOf<OptionsValidationException>().With.Message.EqualTo(sentence));
    }

    private IHost Build(params (string Name, string Value)[] values)
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["FedICU:Strategy"] = "fedicu",
            ["Folder:Path"] = _folder.FullName,
            ["Folder:Poll"] = "00:00:00.02",
        });
        builder.Configuration.AddInMemoryCollection(values.Select(pair => KeyValuePair.Create(pair.Name, (string?)pair.Value)));
        builder.AddFolderRounds();
        return builder.Build();
    }

    private async Task<IHost> StartAsync()
    {
        IHost host = Build();
        await host.StartAsync();
        return host;
    }

    private FolderWorker Worker(IAggregator? aggregator = null, RoundOptions? options = null, TimeSpan? quiet = null, TimeProvider? clock = null) => new(
        aggregator ?? new FedIcuAggregator(), options ?? new RoundOptions(), Options.Create(new FolderOptions { Path = _folder.FullName, QuietTime = quiet }),
        clock ?? TimeProvider.System, NullLogger<FolderWorker>.Instance);

    private void Put(string round, string client, int seed)
    {
        Directory.CreateDirectory(_folder[$"inbox/{round}"]);
        Rounds.Model(seed, (MetadataKeys.Examples, "10")).SaveTo(TensorSink.ToFile(_folder[$"inbox/{round}/{client}.safetensors"]));
    }

    private void Ready(string round) => File.WriteAllBytes(_folder[$"inbox/{round}/ready"], []);

    private byte[] Global() => File.ReadAllBytes(_folder["global.safetensors"]);

    private string[] Names(string folder) => [.. new DirectoryInfo(_folder[folder]).GetFileSystemInfos().Select(item => item.Name).Order(StringComparer.Ordinal)];

    /// <summary>The file that the library called directly writes of a round's folder.</summary>
    private async Task<byte[]> ExpectedAsync(string folder, long number)
    {
        using var place = new TempFolder();
        using TensorSource global = TensorSource.Open(_folder["global.safetensors"]);
        var round = new AggregationRound(global, new RoundOptions { Round = number });
        foreach (string path in Directory.GetFiles(folder, "*.safetensors"))
            round.Add(ClientUpdate.FromFile(Path.GetFileNameWithoutExtension(path), path));
        await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile(place["next.safetensors"]));
        return File.ReadAllBytes(place["next.safetensors"]);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.That(i, Is.LessThan(3000), "nothing happened for a minute");
            await Task.Delay(20);
        }
    }

    private sealed class HandClock : TimeProvider
    {
        public long Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now;
    }

    /// <summary>A round that a stop of the host cuts short.</summary>
    private sealed class CutShort : IAggregator
    {
        public string Name => "cut-short";

        public Task<AggregationResult> AggregateAsync(AggregationRound round, TensorSink output, CancellationToken cancellationToken = default) =>
            Task.FromException<AggregationResult>(new OperationCanceledException());
    }
}
