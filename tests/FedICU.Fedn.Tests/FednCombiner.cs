using FedICU.Fedn.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;

namespace FedICU.Fedn.Tests;

/// <summary>FEDn's combiner, call for call: what it sends, in which order, with which deadlines.</summary>
internal sealed class FednCombiner(GrpcChannel channel, params string[] authorizations) : IDisposable
{
    public const int Chunk = 1024 * 1024;

    public FunctionService.FunctionServiceClient Client { get; } = new(channel.Intercept(headers =>
    {
        foreach (string value in authorizations)
            headers.Add("authorization", value);
        return headers;
    }));

    public GrpcChannel Channel => channel;

    /// <summary>A round: which functions are provided, the global model, each client's metadata and model, the aggregation.</summary>
    public async Task<byte[]> RoundAsync(byte[] global, params (string Id, double Examples, byte[] Model)[] clients)
    {
        await BeginAsync();
        await StoreAsync("global_model", global);
        foreach ((string id, double examples, byte[] model) in clients)
            await UpdateAsync(id, examples, model);
        return await AggregateAsync();
    }

    public async Task BeginAsync() =>
        await Client.HandleProvidedFunctionsAsync(new ProvidedFunctionsRequest { FunctionCode = ByteString.CopyFromUtf8("class ServerFunctions: pass") }, deadline: Deadline());

    /// <summary>A client's metadata and model; the second answer.</summary>
    public async Task<string> UpdateAsync(string id, double examples, byte[] model)
    {
        await MetadataAsync(id, FormattableString.Invariant($"{{\"num_examples\": {examples}, \"batch_size\": 32, \"round_id\": \"1\"}}"));
        return await StoreAsync(id, model);
    }

    public async Task<string> MetadataAsync(string id, string metadata) =>
        (await Client.HandleMetadataAsync(new ClientMetaRequest { Metadata = ByteString.CopyFromUtf8(metadata), ClientId = ByteString.CopyFromUtf8(id) }, deadline: Deadline())).Status;

    public AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> BeginStore() => Client.HandleStoreModel(deadline: Deadline());

    /// <summary>A model in chunks of 1 MiB and an empty one; null: a retry's, which was read to its end before.</summary>
    public async Task<string> StoreAsync(string id, byte[]? model)
    {
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = BeginStore();
        try
        {
            for (int at = 0; at < (model?.Length ?? 0); at += Chunk)
                await call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8(id), Data = ByteString.CopyFrom(model.AsSpan(at, Math.Min(Chunk, model!.Length - at))) });
            await call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8(id) });
            await call.RequestStream.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException)
        {
            // answered before the last chunk: the answer says why
        }

        return (await call).Status;
    }

    public async Task<byte[]> AggregateAsync(double seconds = 600)
    {
        using AsyncServerStreamingCall<AggregationResponse> call = Client.HandleAggregation(new AggregationRequest { Aggregate = "aggregate" }, deadline: Deadline(seconds));
        using var model = new MemoryStream();
        bool ended = false;
        await foreach (AggregationResponse response in call.ResponseStream.ReadAllAsync())
        {
            Assert.That(ended, Is.False, "the empty message is the last");
            Assert.That(response.Data.Length, Is.LessThanOrEqualTo(Chunk));
            ended = response.Data.IsEmpty;
            response.Data.WriteTo(model);
        }

        Assert.That(ended, "the last message is empty");
        return model.ToArray();
    }

    public void Dispose() => channel.Dispose();

    /// <summary>For every call, so that none waits for ever.</summary>
    public static DateTime Deadline(double seconds = 120) => DateTime.UtcNow.AddSeconds(seconds);
}
