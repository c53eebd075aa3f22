using Grpc.Core;
using static FedICU.Fedn.Tests.Rounds;

namespace FedICU.Fedn.Tests;

/// <summary>A round goes on when the service is stopped and started over the same spool.</summary>
internal sealed class RestartTests
{
    private string _spool = "";

    [SetUp]
    public void CreateFolder() => _spool = Directory.CreateTempSubdirectory("fedicu-restart-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_spool, recursive: true);

    [Test]
    public async Task ARoundGoesOnAfterARestart([Values("fedavg", "fedicu", "krum")] string strategy)
    {
        string url;
        await using (FednServer server = await StartAsync(strategy))
        {
            url = $"--Kestrel:Endpoints:Fedn:Url={server.Urls[0]}";
            using FednCombiner combiner = server.Combiner();
            await combiner.BeginAsync();
            await combiner.StoreAsync("global_model", Global);
            await combiner.UpdateAsync(RoundClients[0].Id, RoundClients[0].Examples, RoundClients[0].Model);
            await combiner.MetadataAsync(RoundClients[1].Id, $$"""{"num_examples": {{RoundClients[1].Examples}}}""");
        }

        await using (FednServer server = await StartAsync(strategy, url))
        {
            Assert.That(server.Used, Is.EqualTo(server.FileBytes).And.GreaterThan(0));
            using FednCombiner combiner = server.Combiner();
            Assert.That(await combiner.StoreAsync("global_model", null), Does.Contain("the earlier one is kept"));
            await combiner.StoreAsync(RoundClients[1].Id, RoundClients[1].Model);
            Assert.That(
                await combiner.StoreAsync(RoundClients[0].Id, RoundClients[0].Model), Does.StartWith("ERROR: Client 'zoe': an update"));
        }

        byte[] expected = Expected(strategy, Archives.Model(1), RoundClients).Archive;
        await using (FednServer server = await StartAsync(strategy, url))
        {
            using FednCombiner combiner = server.Combiner();
            await combiner.UpdateAsync(RoundClients[2].Id, RoundClients[2].Examples, RoundClients[2].Model);
            Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
        }

        await using (FednServer server = await StartAsync(strategy, url))
        {
            using FednCombiner combiner = server.Combiner();
            Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)), "a retry after the answer");
            await combiner.BeginAsync();
            Assert.That(server.Files, Is.Empty);
        }
    }

    [Test]
    public async Task FaultsSurviveARestart()
    {
        string[] drop =
        [
            "--FedIcu:Settings:on-unreadable=drop-client", "--FedIcu:Settings:on-weight=drop-client", "--FedIcu:Settings:quorum=1",
        ];
        string url;
        await using (FednServer server = await StartAsync("fedavg", drop))
        {
            url = $"--Kestrel:Endpoints:Fedn:Url={server.Urls[0]}";
            using FednCombiner combiner = server.Combiner();
            await combiner.BeginAsync();
            await combiner.StoreAsync("global_model", Global);
            await combiner.UpdateAsync("broken", 3, [1]);
            await combiner.MetadataAsync("weightless", """{"num_examples": -1}""");
            await combiner.StoreAsync("weightless", RoundClients[2].Model);
            await combiner.UpdateAsync("zoe", 120, RoundClients[0].Model);
        }

        await using (FednServer server = await StartAsync("fedavg", url))
        {
            using FednCombiner combiner = server.Combiner();
            Assert.That(Failure(() => combiner.AggregateAsync()).Detail, Does.StartWith("Client 'broken': the archive is not an npz file"));
        }

        await using (FednServer server = await StartAsync("fedavg", [url, drop[0], drop[2]]))
        {
            using FednCombiner combiner = server.Combiner();
            Assert.That(Failure(() => combiner.AggregateAsync()).Detail, Does.StartWith("Client 'weightless': num_examples is -1;"));
        }

        await using (FednServer server = await StartAsync("fedavg", [url, .. drop]))
        {
            using FednCombiner combiner = server.Combiner();
            byte[] expected = Expected("fedavg", Archives.Model(1), [RoundClients[0]]).Archive;
            Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
        }
    }

    [Test]
    public async Task ADamagedUpdateIsItsClientsFault()
    {
        string url = await RunFirstRoundAsync();
        string file = Directory.GetFiles(_spool, "4.safetensors", SearchOption.AllDirectories).Single();
        byte[] bytes = await File.ReadAllBytesAsync(file);
        bytes[^1] ^= 1;
        await File.WriteAllBytesAsync(file, bytes);
        // what an upload that had not ended leaves
        await File.WriteAllTextAsync(Path.Combine(Path.GetDirectoryName(file)!, "99.npz"), "half");
        await using FednServer server = await StartAsync("fedavg", url);
        using FednCombiner combiner = server.Combiner();
        Assert.That(server.Files, Has.Length.EqualTo(1), "the global model");
        Assert.That(
            Failure(() => combiner.AggregateAsync()).Detail,
            Is.EqualTo("Client 'zoe': the file of its update was damaged after the update had been accepted."));
        await combiner.StoreAsync("zoe", RoundClients[0].Model);
        await combiner.AggregateAsync();
    }

    [Test]
    public async Task ADamagedRecordKeepsItsRound(
        [Values("", "{}", """{"version": 99, "combiner": "a", "clients": []}""", "null", "[1")] string text)
    {
        string url = await RunFirstRoundAsync();
        string record = Directory.GetFiles(_spool, "round.json", SearchOption.AllDirectories).Single(), whole = File.ReadAllText(record);
        await File.WriteAllTextAsync(record, text);
        Assert.That(
            () => RoundRecordFile.ReadCombiner(Path.GetDirectoryName(record)!),
            Throws.TypeOf<FedIcuException>().With.Message.StartWith($"The round's file '{record}' ")
                .And.Message.Contains("expected. The round's folder is kept; delete it to give the round up."));
        await ExpectTheRoundLaterAsync(url, () => File.WriteAllText(record, whole));
    }

    [Test]
    public async Task AFileThatCannotBeReadNowKeepsItsRound([Values("round.json", "4.safetensors")] string name)
    {
        string url = await RunFirstRoundAsync();
        string file = Directory.GetFiles(_spool, name, SearchOption.AllDirectories).Single(), aside = Path.Combine(_spool, "aside");
        File.Move(file, aside);
        // a folder cannot be read as a file
        Directory.CreateDirectory(file);
        await ExpectTheRoundLaterAsync(url, () =>
        {
            Directory.Delete(file);
            File.Move(aside, file);
        });
    }

    [Test]
    public async Task AFolderWithoutARecordIsDeleted()
    {
        string url = await RunFirstRoundAsync();
        File.Delete(Directory.GetFiles(_spool, "round.json", SearchOption.AllDirectories).Single());
        await using FednServer server = await StartAsync("fedavg", url);
        Assert.That(Directory.GetDirectories(Path.Combine(_spool, "rounds")), Is.Empty);
        using FednCombiner combiner = server.Combiner();
        Status status = Failure(() => combiner.AggregateAsync());
        Assert.That(status.Detail, Is.EqualTo("No global model was received before the aggregation."));
    }

    [Test]
    public async Task ARoundInAnotherFolderThanItsCombinersIsKept()
    {
        string url = await RunFirstRoundAsync();
        string folder = Directory.GetDirectories(Path.Combine(_spool, "rounds")).Single(), other = folder + "-copy";
        Directory.Move(folder, other);
        await using FednServer server = await StartAsync("fedavg", url);
        Assert.That(Directory.GetFiles(other), Has.Length.EqualTo(3));
    }

    [Test]
    public async Task ARecordNamesOnlyFilesOfItsFolder()
    {
        string url = await RunFirstRoundAsync();
        string record = Directory.GetFiles(_spool, "round.json", SearchOption.AllDirectories).Single();
        string outside = Path.Combine(_spool, "7.safetensors"), text = await File.ReadAllTextAsync(record);
        File.Copy(Path.Combine(Path.GetDirectoryName(record)!, "4.safetensors"), outside);
        await File.WriteAllTextAsync(record, text.Replace("4.safetensors", "../../7.safetensors", StringComparison.Ordinal));
        await using FednServer server = await StartAsync("fedavg", url);
        using FednCombiner combiner = server.Combiner();
        Assert.That(Failure(() => combiner.AggregateAsync()).Detail, Does.StartWith("Client 'zoe': the file of its update was damaged"));
        Assert.That(File.Exists(outside));
    }

    [Test]
    public async Task AnUpdateThatCannotBeRecordedDoesNotCount()
    {
        await using FednServer server = await StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.UpdateAsync("zoe", 120, RoundClients[0].Model);
        // the record cannot be written while a folder has its temporary name
        string record = Directory.GetFiles(_spool, "round.json", SearchOption.AllDirectories).Single();
        Directory.CreateDirectory(record + ".new");
        Func<Task>[] calls =
        [
            () => combiner.StoreAsync("adam", RoundClients[1].Model), () => combiner.MetadataAsync("adam", "{}"),
            () => combiner.StoreAsync("global_model", RoundClients[2].Model), () => combiner.AggregateAsync(),
        ];
        foreach (Func<Task> call in calls)
            Assert.That(Failure(call).StatusCode, Is.EqualTo(StatusCode.Unavailable));
        Assert.That(server.Files, Has.Length.EqualTo(2), "the global model and the first update");
        Assert.That(server.Used, Is.EqualTo(server.FileBytes));
        Directory.Delete(record + ".new");
        byte[] expected = Expected("fedavg", Archives.Model(1), [RoundClients[0]]).Archive;
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
    }

    /// <summary>
    /// Starts the service over a round that cannot be read now. The round stays, is refused, and goes on once it can be
    /// read.
    /// </summary>
    private async Task ExpectTheRoundLaterAsync(string url, Action mend)
    {
        await using FednServer server = await StartAsync("fedavg", url);
        using FednCombiner combiner = server.Combiner();
        Assert.That(Failure(combiner.BeginAsync).StatusCode, Is.EqualTo(StatusCode.Unavailable));
        Assert.That(server.Used, Is.Zero, "a round that is not restored counts no bytes");
        mend();
        byte[] expected = Expected("fedavg", Archives.Model(1), [RoundClients[0]]).Archive;
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
    }

    /// <summary>Sends the global model and one update, and stops the service. Returns the endpoint's setting.</summary>
    private async Task<string> RunFirstRoundAsync()
    {
        await using FednServer server = await StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.UpdateAsync("zoe", 120, RoundClients[0].Model);
        return $"--Kestrel:Endpoints:Fedn:Url={server.Urls[0]}";
    }

    private Task<FednServer> StartAsync(string strategy, params string[] settings) =>
        FednServer.StartOverAsync(_spool, strategy, settings);
}
