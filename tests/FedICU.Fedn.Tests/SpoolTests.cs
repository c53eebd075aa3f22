using System.Runtime.Versioning;
using FedICU.Fedn.Protocol;
using Google.Protobuf;
using Grpc.Core;
using static FedICU.Fedn.Tests.Rounds;

namespace FedICU.Fedn.Tests;

/// <summary>Tests the spool's folder, its limit, and the places that uploads take.</summary>
internal sealed class SpoolTests
{
    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("fedicu-spool-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task TheUsedBytesAreThoseOfTheFilesAndAreFreedWithThem()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        Assert.That(server.Used, Is.Zero);
        await combiner.StoreAsync("global_model", Global);
        foreach ((string id, double examples, byte[] model) in RoundClients)
            await combiner.UpdateAsync(id, examples, model);
        await combiner.UpdateAsync("broken", 1, Global[..^500]);
        Assert.That(server.Files, Has.Length.EqualTo(4));
        Assert.That(server.Used, Is.EqualTo(server.FileBytes));
        Assert.That(Failure(() => combiner.AggregateAsync()).Detail, Does.StartWith("Client 'broken'"));
        Assert.That(server.Used, Is.EqualTo(server.FileBytes), "after an aggregation that failed");
        await combiner.StoreAsync("broken", Global);
        await combiner.AggregateAsync();
        Assert.That(server.Files, Has.Length.EqualTo(2));
        Assert.That(server.Used, Is.EqualTo(server.FileBytes));
        await combiner.BeginAsync();
        Assert.That(server.Used, Is.Zero);
    }

    [Test]
    public async Task TheLimitHoldsOverAllCombiners()
    {
        byte[] model = Large();
        // room for the two global models, for one update and its archive, but not for a second update
        await using FednServer server = await FednServer.StartAsync(
            "fedavg", "--Kestrel:Endpoints:Other:Url=http://127.0.0.1:0", $"--FedIcu:MaxSpoolBytes={9 << 20}",
            "--FedIcu:Settings:on-unreadable=drop-client", "--FedIcu:Settings:quorum=1");
        using FednCombiner first = server.Combiner(0), second = server.Combiner(1);
        foreach (FednCombiner combiner in (FednCombiner[])[first, second])
        {
            await combiner.BeginAsync();
            await combiner.StoreAsync("global_model", model);
        }

        Assert.That(await first.UpdateAsync("a", 1, model), Is.EqualTo("Received model originating from a"));
        string answer = await second.UpdateAsync("b", 1, model);
        Assert.That(answer, Does.Match(
            @"^ERROR: Client 'b': the spool holds \d+ bytes, and \d+ more would exceed its limit of 9437184 \(FedIcu:MaxSpoolBytes\)\.$"));
        Assert.That(server.Used, Is.EqualTo(server.FileBytes), "what had arrived is deleted");
        Assert.That(Failure(() => second.StoreAsync("global_model", Large(3))).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        Status status = Failure(() => first.AggregateAsync());
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(status.Detail, Does.StartWith("The new model: the spool holds"));
        Assert.That(server.Used, Is.EqualTo(server.FileBytes), "the new model's bytes are free again");

        await second.BeginAsync();
        Assert.That(Contents(await first.AggregateAsync()), Is.EqualTo(Contents(model)), "the other combiner's bytes are free");
    }

    [Test]
    public async Task TheLimitHoldsWhileAModelArrives()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", $"--FedIcu:MaxSpoolBytes={3 << 20}");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore();
        for (int i = 0; i < 3; i++)
            await call.RequestStream.WriteAsync(Message("a", new byte[1 << 20]));
        await Until(() => server.FileBytes == 3 << 20);
        Assert.That(server.Used, Is.EqualTo(3 << 20));
        await call.RequestStream.WriteAsync(Message("a", [1]));
        Assert.That((await call).Status, Does.StartWith("ERROR: Client 'a': the spool holds 3145728 bytes, and 1 more would exceed"));
        Assert.That(server.Files, Is.Empty);
        Assert.That(server.Used, Is.Zero);
    }

    [Test]
    public async Task AnUploadTakesItsPlaceWhenItBegins()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", "--FedIcu:MaxClients=1");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        using (AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore())
        {
            await call.RequestStream.WriteAsync(Message("a", [1]));
            await Until(() => server.Files.Length == 2);
            Status status = Failure(() => combiner.StoreAsync("b", Global));
            Assert.That(status.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
            Assert.That(status.Detail, Is.EqualTo("Client 'b' is one too many; at most 1 were expected."));
            Assert.That(
                await combiner.StoreAsync("a", Global),
                Is.EqualTo("ERROR: Client 'a': an upload of this client has not ended; one at a time was expected."));
            Assert.That(server.Files, Has.Length.EqualTo(2));
        }

        await Until(() => server.Files.Length == 1);
        Assert.That(await combiner.StoreAsync("b", RoundClients[0].Model), Is.EqualTo("Received model originating from b"));
    }

    [Test]
    public async Task AnUploadOfARoundThatIsOverEnds()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore();
        await call.RequestStream.WriteAsync(Message("a", [1]));
        await Until(() => server.Files.Length == 1);
        await combiner.BeginAsync();
        Status status = Failure(async () => await call);
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.Aborted));
        Assert.That(status.Detail, Is.EqualTo("Client 'a': the model arrived after its round was over."));
        await Until(() => server.Files.Length == 0);
        Assert.That(await combiner.StoreAsync("a", Global), Does.StartWith("Received"), "in the next round it may send one");
    }

    [Test]
    public async Task ASecondUpdateReplacesTheFirstOnlyWhereConfigured([Values] bool replaces)
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", $"--FedIcu:ReplaceUpdates={replaces}");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.UpdateAsync("a", 1, RoundClients[0].Model);
        const string Refusal = "ERROR: Client 'a': an update of this client was accepted in this round; one was expected, " +
            "or FedIcu:ReplaceUpdates=true, with which the last one counts.";
        string metadata = await combiner.MetadataAsync("a", """{"num_examples": 5}""");
        string answer = await combiner.StoreAsync("a", RoundClients[1].Model);
        Assert.That(metadata, Is.EqualTo(replaces ? "Metadata stored" : Refusal));
        Assert.That(answer, Is.EqualTo(replaces ? "Received model originating from a" : Refusal));
        Assert.That(server.Files, Has.Length.EqualTo(2));
        if (replaces)
            Assert.That(await combiner.StoreAsync("a", [1]), Does.StartWith("ERROR"), "a refused update replaces nothing");
        byte[] counted = RoundClients[replaces ? 1 : 0].Model;
        byte[] expected = Expected("fedavg", Archives.Model(1), [("a", 1, counted)]).Archive;
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
    }

    [Test]
    public async Task ASlowReaderOfTheNewModelDelaysNobody()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        byte[] model = Archives.Of(new MemoryModel { { "0", [4 << 20], Noise(4 << 20, 1) } });
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", model);
        await combiner.UpdateAsync("a", 1, model);
        using AsyncServerStreamingCall<AggregationResponse> slow =
            combiner.Client.HandleAggregation(new AggregationRequest(), deadline: FednCombiner.Deadline());
        Assert.That(await slow.ResponseStream.MoveNext(CancellationToken.None));
        using var received = new MemoryStream();
        slow.ResponseStream.Current.Data.WriteTo(received);

        // 16 MiB are more than the connection holds, so the answer is still being sent
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(model)), "a second reader");
        await combiner.BeginAsync();
        Assert.That(server.Used, Is.GreaterThan(16 << 20), "the file counts until it is read");
        byte[] next = await combiner.RoundAsync(Global, RoundClients);
        Assert.That(Contents(next), Is.EqualTo(Contents(Expected("fedavg", Archives.Model(1), RoundClients).Archive)));

        while (await slow.ResponseStream.MoveNext(CancellationToken.None))
            slow.ResponseStream.Current.Data.WriteTo(received);
        Assert.That(Contents(received.ToArray()), Is.EqualTo(Contents(model)), "the slow reader gets its whole model");
        await Until(() => server.Used == server.FileBytes && server.Files.Length == 2);
    }

    [Test]
    public void TheSpoolIsCreatedForItsUserAlone()
    {
        string path = Path.Combine(_folder, "new", "spool");
        using (new Spool(path, 1))
        {
            if (!OperatingSystem.IsWindows())
                Assert.That(File.GetUnixFileMode(path), Is.EqualTo((UnixFileMode)0b111_000_000));
            Expect(path, $"The spool folder '{path}' is in use by another process; each process needs its own (FedIcu:Spool).");
        }

        using (new Spool(path, 1))
        {
            // it is free again
        }
    }

    [Test]
    [UnsupportedOSPlatform("windows")]
    [Platform(Exclude = "Win", Reason = "Windows has no file modes")]
    public void ASpoolThatOthersCanReadOrReplaceIsRefused()
    {
        foreach (int mode in (int[])[0b111_101_101, 0b111_111_000, 0b111_000_001, 0b101_000_000])
        {
            File.SetUnixFileMode(_folder, (UnixFileMode)mode);
            Expect(
                _folder,
                $"The spool folder '{_folder}' has the mode 0{Convert.ToString(mode, 8)}; 0700 was expected, " +
                $"as 'chmod 700 {_folder}' sets it.");
        }

        File.SetUnixFileMode(_folder, (UnixFileMode)0b111_000_000);
        string link = Path.Combine(_folder, "link"), dangling = Path.Combine(_folder, "dangling"), target = Path.Combine(_folder, "target");
        PrivateFolder.Create(target);
        Directory.CreateSymbolicLink(link, target);
        Directory.CreateSymbolicLink(dangling, Path.Combine(_folder, "nowhere"));
        foreach (string path in (string[])[link, dangling, link + "/"])
            Expect(path, $"The spool folder '{path}' is a symbolic link; a folder was expected.");
        string file = Path.Combine(_folder, "file");
        File.WriteAllText(file, "");
        Assert.That(() => new Spool(file, 1).Dispose(), Throws.InstanceOf<FedIcuException>().With.Message.Contain(file));
    }

    [Test]
    [Platform("Linux")]
    public void ASpoolOfAnotherUserIsRefused()
    {
        string other = Path.Combine(_folder, "other");
        PrivateFolder.Create(other);
        if (Environment.UserName != "root" || FedICU.Tests.Tools.TryRun("chown", ["12345", other], out _) != 0)
            Assert.Ignore("needs root, which can give a folder away");
        Expect(other, $"The spool folder '{other}' belongs to the user 12345; the service's user 0 was expected.");
    }

    private static void Expect(string path, string message) =>
        Assert.That(() => new Spool(path, 1).Dispose(), Throws.InstanceOf<FedIcuException>().With.Message.EqualTo(message));

    private static StoreModelRequest Message(string id, byte[] data) =>
        new() { Id = ByteString.CopyFromUtf8(id), Data = ByteString.CopyFrom(data) };

    /// <summary>Makes an archive of 2 MiB that cannot be packed much.</summary>
    private static byte[] Large(int seed = 1) => Archives.Of(new MemoryModel { { "0", [1 << 19], Noise(1 << 19, seed) } });

    private static float[] Noise(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)random.NextDouble())];
    }
}
