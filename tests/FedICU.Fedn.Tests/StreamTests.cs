using FedICU.Fedn.Protocol;
using Google.Protobuf;
using Grpc.Core;
using static FedICU.Fedn.Tests.Rounds;

namespace FedICU.Fedn.Tests;

/// <summary>Tests the streams of models over gRPC: broken, oversized, stalled and dropped ones.</summary>
internal sealed class StreamTests
{
    [Test]
    public async Task ADroppedStreamLeavesNoFile()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.MetadataAsync("zoe", "{\"num_examples\": 120}");
        using (AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore())
        {
            await call.RequestStream.WriteAsync(Message("zoe", RoundClients[0].Model.AsSpan(0, 1000)));
            await Until(() => server.Files.Length == 2);
        }

        await Until(() => server.Files.Length == 1);
        Status status = Failure(() => combiner.AggregateAsync());
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        Assert.That(status.Detail, Is.EqualTo("Client 'zoe': its metadata arrived, its model did not."));
        await combiner.StoreAsync("zoe", RoundClients[0].Model);
        byte[] expected = Expected("fedavg", Archives.Model(1), [RoundClients[0]]).Archive;
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(expected)));
    }

    [Test]
    public async Task ADroppedAnswerIsSentAgain()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        byte[] model = await DropAnswerAsync(combiner);

        await combiner.StoreAsync("global_model", null);
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(model)));
    }

    [Test]
    public async Task ALateClientDoesNotTakeAnUnsentModelAway()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        byte[] model = await DropAnswerAsync(combiner);

        const string Late = "ERROR: Client 'b': the update came too late: the round's new model exists and was not sent yet.";
        Assert.That(await combiner.MetadataAsync("b", "{}"), Is.EqualTo(Late));
        Assert.That(await combiner.StoreAsync("b", model), Is.EqualTo(Late));
        Assert.That(Contents(await combiner.AggregateAsync()), Is.EqualTo(Contents(model)));
        Assert.That(await combiner.StoreAsync("b", model), Does.StartWith("Received"), "the first of the next round");
    }

    [Test]
    public async Task AStreamMustHaveOneIdAndAnEmptyLastMessage()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse>
            cut = combiner.BeginStore(), mixed = combiner.BeginStore(), none = combiner.BeginStore();
        await cut.RequestStream.WriteAsync(Message("a", Global));
        await cut.RequestStream.CompleteAsync();
        Assert.That(
            (await cut).Status,
            Does.StartWith("ERROR: Client 'a': the stream ended after").And.EndsWith("without its last, empty message."));
        await mixed.RequestStream.WriteAsync(Message("a", Global));
        await mixed.RequestStream.WriteAsync(Message("b", []));
        Assert.That(Failure(async () => await mixed).Detail, Is.EqualTo("Client 'a': a message of the stream is from 'b'."));
        await none.RequestStream.CompleteAsync();
        Assert.That(Failure(async () => await none).Detail, Is.EqualTo("The stream of a model ended before its first message."));
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
            await call.RequestStream.WriteAsync(Message("a", new byte[3 << 20]));
        }
        catch (RpcException)
        {
            // the service may answer while the message is being sent
        }

        Assert.That(Failure(async () => await call).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(server.Files, Is.Empty);
    }

    [Test]
    public async Task AStalledStreamEndsAtTheDeadline()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", "--FedIcu:StoreTimeout=00:00:00.2");
        using FednCombiner combiner = server.Combiner();
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore();
        try
        {
            await call.RequestStream.WriteAsync(Message("a", [1]));
        }
        catch (RpcException)
        {
            // on a slow machine the deadline may pass before the message is sent
        }

        Assert.That(Failure(async () => await call).StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        await Until(() => server.Files.Length == 0);
    }

    private static StoreModelRequest Message(string id, ReadOnlySpan<byte> data) =>
        new() { Id = ByteString.CopyFromUtf8(id), Data = ByteString.CopyFrom(data) };

    /// <summary>Runs a round whose answer is dropped after its first part. Returns the global model.</summary>
    private static async Task<byte[]> DropAnswerAsync(FednCombiner combiner)
    {
        byte[] model = Archives.Of(new MemoryModel { { "0", [4 << 20], new float[4 << 20] } });
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", model);
        await combiner.UpdateAsync("a", 1, model);
        using (AsyncServerStreamingCall<AggregationResponse> call =
            combiner.Client.HandleAggregation(new AggregationRequest(), deadline: FednCombiner.Deadline()))
        {
            Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None));
        }

        return model;
    }
}
