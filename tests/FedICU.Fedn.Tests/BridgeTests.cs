using System.IO.Compression;
using FedICU.Fedn.Npz;
using FedICU.Fedn.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Health.V1;

namespace FedICU.Fedn.Tests;

/// <summary>The bridge over gRPC on loopback, with a client that does what FEDn's combiner does.</summary>
internal sealed class BridgeTests
{
    private static readonly byte[] Global = Archives.Of(Archives.Model(1));

    private static readonly (string Id, double Examples, byte[] Model)[] Clients =
        [("zoe", 120, Archives.Of(Archives.Model(2))), ("adam", 30, Archives.Of(Archives.Model(3))), ("mia", 50, Archives.Of(Archives.Model(4)))];

    [TestCase("fedavg")]
    [TestCase("fedprox")]
    [TestCase("fedicu")]
    [TestCase("fedicu", "tau=0.5", "axis=rows", "times-share=True")]
    public async Task ARoundGivesTheLibrarysBits(string strategy, params string[] settings)
    {
        await using FednServer server = await FednServer.StartAsync(strategy, [.. settings.Select(setting => $"--FedIcu:Settings:{setting}")]);
        using FednCombiner combiner = server.Combiner();

        byte[] first = await combiner.RoundAsync(Global, Clients), second = await combiner.RoundAsync(first, Clients);

        (byte[] expected, MemoryModel model) = Expected(strategy, Archives.Model(1), Clients, settings);
        Assert.That(Contents(first), Is.EqualTo(Contents(expected)));
        Assert.That(Contents(second), Is.EqualTo(Contents(Expected(strategy, model, Clients, settings).Archive)));
        Assert.That(Archives.Read(first).Select(entry => entry.Name), Is.EqualTo(Enumerable.Range(0, 12).Select(i => $"{i}.npy")));
        Assert.That(server.Files, Has.Length.EqualTo(2), "the global model and the new one");
    }

    [Test]
    public async Task ProvidesTheAggregationOnly()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        ProvidedFunctionsResponse response = await combiner.Client.HandleProvidedFunctionsAsync(new ProvidedFunctionsRequest(), deadline: FednCombiner.Deadline());
        Assert.That(response.AvailableFunctions.Where(function => function.Value).Select(function => function.Key), Is.EqualTo(new[] { "aggregate" }));
        Assert.That(response.AvailableFunctions, Has.Count.EqualTo(4));
        Assert.That(Code(async () => await combiner.Client.HandleClientSelectionAsync(new ClientSelectionRequest(), deadline: FednCombiner.Deadline())).StatusCode, Is.EqualTo(StatusCode.Unimplemented));
    }

    [Test]
    public async Task ModelsLargerThanKestrelsLimitOfABodyPass()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        float[] values = new float[12 << 20];
        for (int i = 0; i < values.Length; i++)
            values[i] = BitConverter.Int32BitsToSingle(0x3f000000 | (int)((uint)i * 2654435761u >> 9));
        byte[] model = Archives.Of(new MemoryModel { { "0", [values.Length], values } });
        Assert.That(model, Has.Length.GreaterThan(31 << 20));
        Assert.That(Contents(await combiner.RoundAsync(model, ("a", 1, model))), Is.EqualTo(Contents(model)));
    }

    [Test]
    public async Task ARetrySendsTheGlobalModelAloneAndTheUpdatesAreStillThere()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        byte[] global = Ramp(0);
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", global);
        await combiner.UpdateAsync("a", 3, Ramp(1));
        await combiner.UpdateAsync("b", 1, Ramp(5));
        Assert.That(Code(() => combiner.AggregateAsync(seconds: 0.002)).StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded), "16 MiB take longer");

        // the combiner's stream of it stands at its end
        Assert.That(await combiner.StoreAsync("global_model", null), Does.Contain("the one that came before is kept"));
        string expected = Contents(Ramp(2));
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(expected));

        // the answer was lost: both kinds of retry have it again
        await combiner.StoreAsync("global_model", null);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(expected));
        await combiner.StoreAsync("global_model", global);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(expected));

        static byte[] Ramp(int step) => Archives.Of(new MemoryModel { { "0", [4 << 20], Enumerable.Range(0, 4 << 20).Select(i => (float)(i % 256 * step)).ToArray() } });
    }

    [Test]
    public async Task WhatARoundLeftIsNotInTheNext([Values] bool announced)
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.UpdateAsync("left over", 1e6, Clients[0].Model);
        if (announced)
            await combiner.BeginAsync();
        // another global model begins a round too
        byte[] other = Archives.Of(Archives.Model(9));
        await combiner.StoreAsync("global_model", other);
        Assert.That(Code(() => combiner.AggregateAsync()).Detail, Is.EqualTo("No client's update came before the aggregation."));
        await combiner.UpdateAsync("a", 1, Clients[1].Model);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(Expected("fedavg", Archives.Model(9), [("a", 1, Clients[1].Model)]).Archive)));
        // after an answer the first client is a new round's
        await combiner.UpdateAsync("b", 1, Clients[2].Model);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(Expected("fedavg", Archives.Model(9), [("b", 1, Clients[2].Model)]).Archive)));
    }

    [Test]
    public async Task CombinersAtPortsOfTheirOwnDoNotMeet()
    {
        await using FednServer server = await FednServer.StartAsync("fedicu", [.. Enumerable.Range(0, 7).Select(i => $"--Kestrel:Endpoints:Other{i}:Url=http://127.0.0.1:0")]);
        await Task.WhenAll(Enumerable.Range(0, server.Urls.Count).Select(async i =>
        {
            using FednCombiner combiner = server.Combiner(i);
            for (int round = 0; round < 4; round++)
            {
                var clients = Clients.Take(1 + (i + round) % 3).Select(client => (client.Id, client.Examples + i, client.Model)).ToArray();
                MemoryModel global = Archives.Model(100 + i);
                byte[] result = await combiner.RoundAsync(Archives.Of(global), clients);
                Assert.That(Contents(result), Is.EqualTo(Contents(Expected("fedicu", global, clients).Archive)), $"combiner {i}, round {round}");
            }
        }));
    }

    [Test]
    public async Task ADroppedStreamLeavesNothing()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.MetadataAsync("zoe", "{\"num_examples\": 120}");
        using (AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore())
        {
            await call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8("zoe"), Data = ByteString.CopyFrom(Clients[0].Model.AsSpan(0, 1000)) });
            await Until(() => server.Files.Length == 2);
        }

        await Until(() => server.Files.Length == 1);
        Status status = Code(() => combiner.AggregateAsync());
        Assert.That(status, Is.EqualTo(new Status(StatusCode.InvalidArgument, "Client 'zoe': its metadata came, its model did not.")).Using<Status>((a, b) => a.StatusCode == b.StatusCode && a.Detail == b.Detail));
        await combiner.StoreAsync("zoe", Clients[0].Model);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(Expected("fedavg", Archives.Model(1), [Clients[0]]).Archive)));
    }

    [Test]
    public async Task AnAnswerThatIsDroppedIsGivenAgain()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        byte[] model = Archives.Of(new MemoryModel { { "0", [4 << 20], new float[4 << 20] } });
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", model);
        await combiner.UpdateAsync("a", 1, model);
        using (AsyncServerStreamingCall<AggregationResponse> call = combiner.Client.HandleAggregation(new AggregationRequest(), deadline: FednCombiner.Deadline()))
            Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None));
        await combiner.StoreAsync("global_model", null);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(model)));
    }

    private static readonly TestCaseData[] Malformed =
    [
        new TestCaseData(Clients[0].Model[..^500], "the archive is no npz file: it has no directory at its end; it may be truncated.").SetArgDisplayNames("truncated"),
        new TestCaseData(Bomb(), "times as many were expected.").SetArgDisplayNames("zip bomb"),
        new TestCaseData(Archives.OneArray(type: "'|O'"), "tensor '0' is an array of objects; numbers were expected.").SetArgDisplayNames("objects"),
        new TestCaseData(new byte[9 << 20], "the model has more than 8388608 bytes.").SetArgDisplayNames("too large"),
        new TestCaseData(Array.Empty<byte>(), "it may be truncated.").SetArgDisplayNames("empty"),
    ];

    [TestCaseSource(nameof(Malformed))]
    public async Task AMalformedUpdateIsAnsweredAndLeftToThePolicy(byte[] model, string reason)
    {
        const string Limit = "--FedIcu:MaxModelBytes=8388608";
        await using FednServer strict = await FednServer.StartAsync("fedavg", Limit),
            lenient = await FednServer.StartAsync("fedavg", Limit, "--FedIcu:Settings:on-unreadable=drop-client", "--FedIcu:Settings:quorum=3");
        foreach (FednServer server in (FednServer[])[strict, lenient])
        {
            using FednCombiner combiner = server.Combiner();
            await combiner.BeginAsync();
            await combiner.StoreAsync("global_model", Global);
            Assert.That(await combiner.UpdateAsync("mallory", 1000, model), Does.StartWith("ERROR: Client 'mallory': ").And.EndsWith(reason));
            foreach ((string id, double examples, byte[] update) in Clients)
                await combiner.UpdateAsync(id, examples, update);
            if (server == lenient)
            {
                Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(Expected("fedavg", Archives.Model(1), Clients).Archive)));
                continue;
            }

            Status status = Code(() => combiner.AggregateAsync());
            Assert.That(status.StatusCode, Is.EqualTo(StatusCode.InvalidArgument), "a status at which the combiner does not try again");
            Assert.That(status.Detail, Does.StartWith("Client 'mallory': ").And.EndsWith(reason));
            Assert.That(server.Files, Has.Length.EqualTo(4));
        }
    }

    [Test]
    public async Task RefusalsAreTheLibrarysSentences()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", "--FedIcu:MaxClients=2");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        Assert.That(Code(() => combiner.AggregateAsync()).Detail, Is.EqualTo("No global model came before the aggregation."));
        Assert.That(Code(() => combiner.StoreAsync("global_model", null)).Detail, Does.StartWith("The global model: the archive is no npz file"));
        await combiner.StoreAsync("global_model", Global);
        Assert.That(Code(() => combiner.StoreAsync("", Global)).Detail, Is.EqualTo("The client's id is ''; a name of its own, of at most 1000 characters, was expected."));
        Assert.That(Code(() => combiner.MetadataAsync("global_model", "{}")).Detail, Is.EqualTo("The client's id is 'global_model'; a name of its own, of at most 1000 characters, was expected."));
        Assert.That(await combiner.MetadataAsync("a", "{\"num_examples\": -1}"), Is.EqualTo("ERROR: Client 'a': num_examples is -1; a finite number of at least 0 was expected."));
        Assert.That(await combiner.MetadataAsync("a", "[]"), Is.EqualTo("ERROR: Client 'a': the metadata are an array; an object was expected."));
        await combiner.UpdateAsync("a", 1, Clients[0].Model);
        await combiner.UpdateAsync("b", 1, Archives.OneArray());
        Assert.That(Code(() => combiner.AggregateAsync()).Detail, Does.StartWith("Client 'b'").And.Contain("'0'").And.Contain("[24, 40]"));
        Assert.That(Code(() => combiner.MetadataAsync("c", "{}")).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        await combiner.MetadataAsync("b", "{}");
        await combiner.StoreAsync("b", Clients[1].Model);
        Assert.That(Code(() => combiner.AggregateAsync()).Detail, Does.Match(@"^Client 'b' \('\d+\.safetensors'\) states no num_examples where client 'a' does"), "without the spool's place");
    }

    [Test]
    public async Task AStreamNeedsItsLastEmptyMessageAndOneId()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> cut = combiner.BeginStore(), mixed = combiner.BeginStore(), none = combiner.BeginStore();
        await cut.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8("a"), Data = ByteString.CopyFrom(Global) });
        await cut.RequestStream.CompleteAsync();
        Assert.That((await cut).Status, Does.StartWith("ERROR: Client 'a': the stream ended after").And.EndsWith("without its last, empty message."));
        await mixed.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8("a"), Data = ByteString.CopyFrom(Global) });
        await mixed.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8("b") });
        Assert.That(Code(async () => await mixed).Detail, Is.EqualTo("Client 'a': a message of the stream is from 'b'."));
        await none.RequestStream.CompleteAsync();
        Assert.That(Code(async () => await none).Detail, Is.EqualTo("The stream of a model ended before its first message."));
        Assert.That(server.Files, Is.Empty);
    }

    [Test]
    public async Task AMessageThatIsTooLargeIsRefused()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", "--FedIcu:MaxMessageBytes=2097152");
        using FednCombiner combiner = server.Combiner();
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore();
        try
        {
            await call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8("a"), Data = ByteString.CopyFrom(new byte[3 << 20]) });
        }
        catch (RpcException)
        {
            // answered while it was being sent
        }

        Assert.That(Code(async () => await call).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(server.Files, Is.Empty);
    }

    [Test]
    public async Task CombinersThatAreSilentMakeRoom()
    {
        string[] endpoints = ["--Kestrel:Endpoints:Other:Url=http://127.0.0.1:0", "--FedIcu:MaxSessions=1"];
        await using FednServer full = await FednServer.StartAsync("fedavg", endpoints), roomy = await FednServer.StartAsync("fedavg", [.. endpoints, "--FedIcu:IdleTimeout=00:00:00.001"]);
        foreach (FednServer server in (FednServer[])[full, roomy])
        {
            using FednCombiner first = server.Combiner(0), second = server.Combiner(1);
            await first.StoreAsync("global_model", Global);
            await Task.Delay(20);
            if (server == full)
                Assert.That(Code(second.BeginAsync).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
            else
                await second.BeginAsync();
            Assert.That(server.Files, Has.Length.EqualTo(server == full ? 1 : 0));
        }
    }

    [Test]
    public async Task AStreamThatStandsStillEndsAtTheDeadline()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", "--FedIcu:StoreTimeout=00:00:00.2");
        using FednCombiner combiner = server.Combiner();
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore();
        try
        {
            await call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8("a"), Data = ByteString.CopyFrom(1) });
        }
        catch (RpcException)
        {
            // a slow machine has not sent it by then
        }

        Assert.That(Code(async () => await call).StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        await Until(() => server.Files.Length == 0);
    }

    [Test]
    public async Task TellsItsHealth()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        var health = new Health.HealthClient(combiner.Channel);
        Assert.That((await health.CheckAsync(new HealthCheckRequest(), deadline: FednCombiner.Deadline())).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
        foreach (string folder in Directory.GetDirectories(server.Spool))
            Directory.Delete(folder, recursive: true);
        Assert.That((await health.CheckAsync(new HealthCheckRequest(), deadline: FednCombiner.Deadline())).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.NotServing));
        await combiner.BeginAsync();
        Assert.That(Code(() => combiner.StoreAsync("global_model", Global)).StatusCode, Is.EqualTo(StatusCode.Unavailable), "a status at which the combiner tries again");
    }

    private static byte[] Bomb()
    {
        using var memory = new MemoryStream();
        using (var archive = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            byte[] zeros = new byte[1 << 20];
            using Stream entry = archive.CreateEntry("0.npy").Open();
            entry.Write(NpyHeader.Write(new TensorInfo("0", DType.F32, new TensorShape(100 << 18))));
            for (int i = 0; i < 100; i++)
                entry.Write(zeros);
        }

        return memory.ToArray();
    }

    /// <summary>What the library makes of the same models, without the bridge.</summary>
    private static (byte[] Archive, MemoryModel Model) Expected(string strategy, MemoryModel global, (string Id, double Examples, byte[] Model)[] clients, params string[] settings)
    {
        ConfiguredRound configured = AggregatorCatalog.Create(strategy, settings.Select(setting => new KeyValuePair<string, string>(setting.Split('=')[0], setting.Split('=')[1].ToLowerInvariant())));
        var round = new AggregationRound(global, configured.Options);
        // the models of the tests' clients are those of the seeds 2, 3, 4
        foreach ((string id, double examples, byte[] archive) in clients)
            round.Add(ClientUpdate.FromTensors(id, Archives.Model(2 + Array.FindIndex(Clients, client => client.Model.AsSpan().SequenceEqual(archive))), examples));
        var sink = new MemorySink();
        configured.Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return (Archives.Of(sink.Model), sink.Model);
    }

    /// <summary>An archive's names and unpacked bytes in its order.</summary>
    private static string Contents(byte[] archive) =>
        string.Join('\n', Archives.Read(archive).Select(entry => $"{entry.Name} {Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(entry.Bytes))}"));

    private static Status Code(Func<Task> call) => Assert.ThrowsAsync<RpcException>(async () => await call())!.Status;

    private static async Task Until(Func<bool> condition)
    {
        for (int i = 0; i < 500 && !condition(); i++)
            await Task.Delay(10);
        Assert.That(condition(), "within five seconds");
    }
}
