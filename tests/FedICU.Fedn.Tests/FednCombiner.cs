using FedICU.Fedn.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;

namespace FedICU.Fedn.Tests;

/// <summary>Makes the calls of FEDn's combiner, in its order and with deadlines.</summary>
internal sealed class FednCombiner(GrpcChannel channel, params string[] authorizations) : IDisposable
{
    /// <summary>The bytes of FEDn's chunks.</summary>
    public const int ChunkLength = 1024 * 1024;

    public FunctionService.FunctionServiceClient Client { get; } = new(channel.Intercept(headers =>
    {
        foreach (string value in authorizations)
            headers.Add("authorization", value);
        return headers;
    }));

    public GrpcChannel Channel => channel;

    /// <summary>Runs a round and returns the new model.</summary>
    public async Task<byte[]> RoundAsync(byte[] global, params (string Id, double Examples, byte[] Model)[] clients)
    {
        await BeginAsync();
        await StoreAsync("global_model", global);
        foreach ((string id, double examples, byte[] model) in clients)
            await UpdateAsync(id, examples, model);
        return await AggregateAsync();
    }

    public async Task BeginAsync()
    {
        var request = new ProvidedFunctionsRequest { FunctionCode = ByteString.CopyFromUtf8("class ServerFunctions: pass") };
        await Client.HandleProvidedFunctionsAsync(request, deadline: Deadline());
    }

    /// <summary>Sends a client's metadata and model. Returns the answer to the model.</summary>
    public async Task<string> UpdateAsync(string id, double examples, byte[] model)
    {
        FormattableString metadata = $"{{\"num_examples\": {examples}, \"batch_size\": 32, \"round_id\": \"1\"}}";
        await MetadataAsync(id, FormattableString.Invariant(metadata));
        return await StoreAsync(id, model);
    }

    public async Task<string> MetadataAsync(string id, string metadata)
    {
        var request = new ClientMetaRequest { Metadata = ByteString.CopyFromUtf8(metadata), ClientId = ByteString.CopyFromUtf8(id) };
        return (await Client.HandleMetadataAsync(request, deadline: Deadline())).Status;
    }

    public AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> BeginStore() => Client.HandleStoreModel(deadline: Deadline());

    /// <summary>
    /// Sends a model in chunks of 1 MiB, then the empty message. Null sends only that, as on a retry.
    /// </summary>
    public async Task<string> StoreAsync(string id, byte[]? model)
    {
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = BeginStore();
        try
        {
            for (int at = 0; at < (model?.Length ?? 0); at += ChunkLength)
            {
                var data = ByteString.CopyFrom(model.AsSpan(at, Math.Min(ChunkLength, model!.Length - at)));
                await call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8(id), Data = data });
            }

            await call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8(id) });
            await call.RequestStream.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException)
        {
            // the service answered before the last chunk; the answer gives the reason
        }

        return (await call).Status;
    }

    public async Task<byte[]> AggregateAsync(double seconds = 600)
    {
        var request = new AggregationRequest { Aggregate = "aggregate" };
        using AsyncServerStreamingCall<AggregationResponse> call = Client.HandleAggregation(request, deadline: Deadline(seconds));
        using var model = new MemoryStream();
        bool ended = false;
        await foreach (AggregationResponse response in call.ResponseStream.ReadAllAsync())
        {
            Assert.That(ended, Is.False, "the empty message is the last");
            Assert.That(response.Data.Length, Is.LessThanOrEqualTo(ChunkLength));
            ended = response.Data.IsEmpty;
            response.Data.WriteTo(model);
        }

        Assert.That(ended, "the last message is empty");
        return model.ToArray();
    }

    public void Dispose() => channel.Dispose();

    /// <summary>Returns a deadline. Every call has one, so that no test waits forever.</summary>
    public static DateTime Deadline(double seconds = 120) => DateTime.UtcNow.AddSeconds(seconds);
}
