using FedICU.Fedn.Protocol;
using FedICU.Tests;
using Grpc.Core;
using Grpc.Health.V1;
using static FedICU.Fedn.Tests.Rounds;

namespace FedICU.Fedn.Tests;

/// <summary>
/// Tests the bridge's rounds over gRPC on loopback, with a client that makes the calls of FEDn's combiner.
/// </summary>
internal sealed class BridgeTests
{
    [TestCase("fedavg")]
    [TestCase("fedprox")]
    [TestCase("fedicu")]
    [TestCase("fedicu", "tau=0.5", "axis=rows", "times-share=True")]
    public async Task ARoundEqualsTheLibrarysBitForBit(string strategy, params string[] settings)
    {
        await using FednServer server =
            await FednServer.StartAsync(strategy, [.. settings.Select(setting => $"--FedIcu:Settings:{setting}")]);
        using FednCombiner combiner = server.Combiner();

        byte[] first = await combiner.RoundAsync(Global, RoundClients), second = await combiner.RoundAsync(first, RoundClients);

        (byte[] expected, MemoryModel model) = Expected(strategy, Archives.Model(1), RoundClients, settings);
        Assert.That(Contents(first), Is.EqualTo(Contents(expected)));
        Assert.That(Contents(second), Is.EqualTo(Contents(Expected(strategy, model, RoundClients, settings).Archive)));
        Assert.That(Archives.Read(first).Select(entry => entry.Name), Is.EqualTo(Enumerable.Range(0, 12).Select(i => $"{i}.npy")));
        Assert.That(server.Files, Has.Length.EqualTo(2), "the global model and the new one");
    }

    [Test]
    public async Task OnlyTheAggregationIsProvided()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        ProvidedFunctionsResponse response =
            await combiner.Client.HandleProvidedFunctionsAsync(new ProvidedFunctionsRequest(), deadline: FednCombiner.Deadline());
        string[] provided = [.. response.AvailableFunctions.Where(function => function.Value).Select(function => function.Key)];
        Assert.That(provided, Is.EqualTo(new[] { "aggregate" }));
        Assert.That(response.AvailableFunctions, Has.Count.EqualTo(4));
        Status status = Failure(async () =>
            await combiner.Client.HandleClientSelectionAsync(new ClientSelectionRequest(), deadline: FednCombiner.Deadline()));
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.Unimplemented));
    }

    [Test]
    public async Task ModelsMayExceedKestrelsLimitForARequestBody()
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
    public async Task TheUpdatesAreKeptForARetryThatSendsOnlyTheGlobalModel()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        byte[] global = Ramp(0);
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", global);
        await combiner.UpdateAsync("a", 3, Ramp(1));
        await combiner.UpdateAsync("b", 1, Ramp(5));
        Status status = Failure(() => combiner.AggregateAsync(seconds: 0.002));
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded), "16 MiB take longer");

        // the combiner has read its model to the end, so its second stream is empty
        Assert.That(await combiner.StoreAsync("global_model", null), Does.Contain("the earlier one is kept"));
        string expected = Contents(Ramp(2));
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(expected));

        // if the answer was lost, both kinds of retry get it again
        await combiner.StoreAsync("global_model", null);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(expected));
        await combiner.StoreAsync("global_model", global);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(expected));

        static byte[] Ramp(int step)
        {
            float[] values = [.. Enumerable.Range(0, 4 << 20).Select(i => (float)(i % 256 * step))];
            return Archives.Of(new MemoryModel { { "0", [values.Length], values } });
        }
    }

    [Test]
    public async Task ARoundDoesNotSeeThePreviousRoundsUpdates([Values] bool announced)
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.UpdateAsync("left over", 1e6, RoundClients[0].Model);
        if (announced)
            await combiner.BeginAsync();
        // a different global model also begins a round
        byte[] other = Archives.Of(Archives.Model(9));
        await combiner.StoreAsync("global_model", other);
        Assert.That(Failure(() => combiner.AggregateAsync()).Detail, Is.EqualTo("No client's update was received before the aggregation."));
        await combiner.UpdateAsync("a", 1, RoundClients[1].Model);
        await ExpectAsync("a", RoundClients[1].Model);
        // after an answer the first update begins a round
        await combiner.UpdateAsync("b", 1, RoundClients[2].Model);
        await ExpectAsync("b", RoundClients[2].Model);

        async Task ExpectAsync(string id, byte[] model)
        {
            byte[] expected = Expected("fedavg", Archives.Model(9), [(id, 1, model)]).Archive;
            Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
        }
    }

    [Test]
    public async Task CombinersAtDifferentPortsHaveSeparateRounds()
    {
        string[] endpoints = [.. Enumerable.Range(0, 7).Select(i => $"--Kestrel:Endpoints:Other{i}:Url=http://127.0.0.1:0")];
        await using FednServer server = await FednServer.StartAsync("fedicu", endpoints);
        await Task.WhenAll(Enumerable.Range(0, server.Urls.Count).Select(async i =>
        {
            using FednCombiner combiner = server.Combiner(i);
            for (int round = 0; round < 4; round++)
            {
                var clients = RoundClients.Take(1 + (i + round) % 3)
                    .Select(client => (client.Id, client.Examples + i, client.Model)).ToArray();
                MemoryModel global = Archives.Model(100 + i);
                byte[] result = await combiner.RoundAsync(Archives.Of(global), clients);
                byte[] expected = Expected("fedicu", global, clients).Archive;
                Assert.That(Contents(result), Is.EqualTo(Contents(expected)), $"combiner {i}, round {round}");
            }
        }));
    }

    [Test]
    public async Task AnIdleCombinersSessionMakesRoom()
    {
        string[] endpoints = ["--Kestrel:Endpoints:Other:Url=http://127.0.0.1:0", "--FedIcu:MaxSessions=1"];
        await using FednServer full = await FednServer.StartAsync("fedavg", endpoints);
        await using FednServer roomy = await FednServer.StartAsync("fedavg", [.. endpoints, "--FedIcu:IdleTimeout=00:00:00.001"]);
        foreach (FednServer server in (FednServer[])[full, roomy])
        {
            using FednCombiner first = server.Combiner(0), second = server.Combiner(1);
            await first.StoreAsync("global_model", Global);
            await Task.Delay(20);
            if (server == full)
                Assert.That(Failure(second.BeginAsync).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
            else
                await second.BeginAsync();
            Assert.That(server.Files, Has.Length.EqualTo(server == full ? 1 : 0));
        }
    }

    /// <summary>A pipe in the place of a record is a disk that does not answer until somebody writes to it.</summary>
    [Test]
    [Platform("Linux")]
    public async Task ADiskThatDoesNotAnswerDelaysOneCombiner()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", "--Kestrel:Endpoints:Other:Url=http://127.0.0.1:0");
        using FednCombiner stalled = server.Combiner(0), other = server.Combiner(1);
        string folder = Path.Combine(server.Spool, "rounds", CombinerName.ToFileName(new Uri(server.Urls[0]).Authority));
        string record = Path.Combine(folder, RoundRecordFile.Name);
        Directory.CreateDirectory(folder);
        Assert.That(Tools.TryRun("mkfifo", [record], out string output), Is.Zero, output);
        Task<byte[]> round = Task.Run(() => stalled.RoundAsync(Global, RoundClients));
        byte[] expected = Expected("fedavg", Archives.Model(1), RoundClients).Archive;
        // opens only once the stalled call is reading
        using (FileStream pipe = new(record, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            Assert.That(Contents(await other.RoundAsync(Global, RoundClients)), Is.EqualTo(Contents(expected)));
            Assert.That(round.IsCompleted, Is.False);
            File.Delete(record);
            pipe.Write("""{"version": 1, "combiner": "a", "clients": []}"""u8);
        }

        Assert.That(Contents(await round), Is.EqualTo(Contents(expected)));
    }

    [Test]
    public async Task TheHealthServiceReportsWhetherTheSpoolCanBeWritten()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        var health = new Health.HealthClient(combiner.Channel);
        Assert.That(await CheckAsync(), Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
        foreach (string folder in Directory.GetDirectories(server.Spool))
            Directory.Delete(folder, recursive: true);
        // no folder can take its place
        await File.WriteAllTextAsync(Path.Combine(server.Spool, "rounds"), "");
        Assert.That(await CheckAsync(), Is.EqualTo(HealthCheckResponse.Types.ServingStatus.NotServing));
        Status status = Failure(combiner.BeginAsync);
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.Unavailable), "the combiner retries after this status");
        File.Delete(Path.Combine(server.Spool, "rounds"));

        async Task<HealthCheckResponse.Types.ServingStatus> CheckAsync() =>
            (await health.CheckAsync(new HealthCheckRequest(), deadline: FednCombiner.Deadline())).Status;
    }
}
