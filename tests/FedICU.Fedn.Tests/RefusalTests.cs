using System.IO.Compression;
using FedICU.Fedn.Npz;
using Grpc.Core;
using static FedICU.Fedn.Tests.Rounds;

namespace FedICU.Fedn.Tests;

/// <summary>Tests how the bridge refuses updates and calls over gRPC.</summary>
internal sealed class RefusalTests
{
    private static readonly TestCaseData[] Malformed =
    [
        Case("truncated", RoundClients[0].Model[..^500],
            "the archive is not an npz file: it has no directory at its end; it may be truncated."),
        Case("zip bomb", Bomb(), "times as many were expected."),
        Case("objects", Archives.OneArray(type: "'|O'"), "tensor '0' is an array of objects; numbers were expected."),
        Case("too large", new byte[9 << 20], "the model has more than 8388608 bytes."),
        Case("empty", [], "it may be truncated."),
    ];

    [TestCaseSource(nameof(Malformed))]
    public async Task ThePolicyDecidesAboutAMalformedUpdate(byte[] model, string reason)
    {
        const string Limit = "--FedIcu:MaxModelBytes=8388608";
        await using FednServer strict = await FednServer.StartAsync("fedavg", Limit);
        await using FednServer lenient = await FednServer.StartAsync(
            "fedavg", Limit, "--FedIcu:Settings:on-unreadable=drop-client", "--FedIcu:Settings:quorum=3");
        foreach (FednServer server in (FednServer[])[strict, lenient])
        {
            using FednCombiner combiner = server.Combiner();
            await combiner.BeginAsync();
            await combiner.StoreAsync("global_model", Global);
            string answer = await combiner.UpdateAsync("mallory", 1000, model);
            Assert.That(answer, Does.StartWith("ERROR: Client 'mallory': ").And.EndsWith(reason));
            foreach ((string id, double examples, byte[] update) in RoundClients)
                await combiner.UpdateAsync(id, examples, update);
            if (server == lenient)
            {
                byte[] expected = Expected("fedavg", Archives.Model(1), RoundClients).Archive;
                Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
                continue;
            }

            Status status = Failure(() => combiner.AggregateAsync());
            Assert.That(status.StatusCode, Is.EqualTo(StatusCode.InvalidArgument), "the combiner does not retry after this status");
            Assert.That(status.Detail, Does.StartWith("Client 'mallory': ").And.EndsWith(reason));
            Assert.That(server.Files, Has.Length.EqualTo(4));
        }
    }

    [Test]
    public async Task RefusalsHaveMessages()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", "--FedIcu:MaxClients=2", "--FedIcu:ReplaceUpdates=true");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        Assert.That(Failure(() => combiner.AggregateAsync()).Detail, Is.EqualTo("No global model was received before the aggregation."));
        Assert.That(
            Failure(() => combiner.StoreAsync("global_model", null)).Detail,
            Does.StartWith("The global model: the archive is not an npz file"));
        await combiner.StoreAsync("global_model", Global);
        Assert.That(
            Failure(() => combiner.StoreAsync("", Global)).Detail,
            Is.EqualTo("The client's id is ''; another name, of 1 to 1000 characters, was expected."));
        Assert.That(
            Failure(() => combiner.MetadataAsync("global_model", "{}")).Detail,
            Is.EqualTo("The client's id is 'global_model'; another name, of 1 to 1000 characters, was expected."));
        Assert.That(
            await combiner.MetadataAsync("a", "{\"num_examples\": -1}"),
            Is.EqualTo("ERROR: Client 'a': num_examples is -1; a finite number of at least 0 was expected."));
        Assert.That(
            await combiner.MetadataAsync("a", "[]"),
            Is.EqualTo("ERROR: Client 'a': the metadata are an array; an object was expected."));
        await combiner.UpdateAsync("a", 1, RoundClients[0].Model);
        await combiner.UpdateAsync("b", 1, Archives.OneArray());
        Assert.That(
            Failure(() => combiner.AggregateAsync()).Detail, Does.StartWith("Client 'b'").And.Contain("'0'").And.Contain("[24, 40]"));
        Assert.That(Failure(() => combiner.MetadataAsync("c", "{}")).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        await combiner.MetadataAsync("b", "{}");
        await combiner.StoreAsync("b", RoundClients[1].Model);
        Assert.That(
            Failure(() => combiner.AggregateAsync()).Detail,
            Does.StartWith("Client 'b' states no num_examples, but client 'a' does"), "without the file in the spool");
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

    private static TestCaseData Case(string name, byte[] model, string reason) =>
        new TestCaseData(model, reason).SetArgDisplayNames(name);
}
