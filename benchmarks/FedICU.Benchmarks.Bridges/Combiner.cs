using System.Diagnostics;
using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using System.Text;
using FedICU.Fedn.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace FedICU.Benchmarks.Bridges;

/// <summary>Plays FEDn's combiner in a round, against the bridge in a separate process.</summary>
internal sealed class Combiner : IDisposable
{
    // bytes of a streamed message; chosen
    private const int Chunk = 1 << 20;

    private readonly Process _bridge;
    private readonly GrpcChannel _channel;
    private readonly FunctionService.FunctionServiceClient _client;
    private readonly byte[][] _archives;

    public Combiner(string root, string strategy, string spool, Models models)
    {
        int port = FreePort();
        string bridge = Path.Combine(root, "artifacts", "bin", "FedICU.Fedn", "release", "FedICU.Fedn.dll");
        string[] arguments =
        [
            bridge, $"--Kestrel:Endpoints:Fedn:Url=http://127.0.0.1:{port}", $"--FedIcu:Strategy={strategy}", $"--FedIcu:Spool={spool}",
            "--Logging:LogLevel:Default=None",
        ];
        _bridge = Process.Start(new ProcessStartInfo("dotnet", arguments))!;
        _channel = GrpcChannel.ForAddress($"http://127.0.0.1:{port}", new GrpcChannelOptions { MaxReceiveMessageSize = null });
        _client = new FunctionService.FunctionServiceClient(_channel);
        _archives = [.. Enumerable.Range(0, models.Clients + 1).Select(k => CreateArchive(models, k))];
    }

    /// <summary>The milliseconds that storing all models took in each round.</summary>
    public List<double> Storing { get; } = [];

    /// <summary>The milliseconds that the aggregation took in each round.</summary>
    public List<double> Aggregating { get; } = [];

    public void RunRound()
    {
        _client.HandleProvidedFunctions(new ProvidedFunctionsRequest { FunctionCode = "" }, new CallOptions().WithWaitForReady());
        var time = Stopwatch.StartNew();
        Store("global_model", _archives[0]);
        for (int k = 1; k < _archives.Length; k++)
        {
            _client.HandleMetadata(new ClientMetaRequest
            {
                ClientId = ByteString.CopyFromUtf8($"client-{k:00}"),
                Metadata = ByteString.CopyFromUtf8($"{{\"num_examples\": {k}}}"),
            });
            Store($"client-{k:00}", _archives[k]);
        }

        Storing.Add(time.Elapsed.TotalMilliseconds);
        time.Restart();
        using AsyncServerStreamingCall<AggregationResponse> call =
            _client.HandleAggregation(new AggregationRequest { Aggregate = "aggregate" });
        while (call.ResponseStream.MoveNext(CancellationToken.None).GetAwaiter().GetResult())
        {
        }

        Aggregating.Add(time.Elapsed.TotalMilliseconds);
    }

    public void Dispose()
    {
        _channel.Dispose();
        _bridge.Kill();
        _bridge.WaitForExit();
        _bridge.Dispose();
    }

    private void Store(string id, byte[] model)
    {
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = _client.HandleStoreModel();
        for (int at = 0; at < model.Length; at += Chunk)
        {
            ByteString data = UnsafeByteOperations.UnsafeWrap(model.AsMemory(at, Math.Min(Chunk, model.Length - at)));
            call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8(id), Data = data }).GetAwaiter().GetResult();
        }

        call.RequestStream.WriteAsync(new StoreModelRequest { Id = ByteString.CopyFromUtf8(id) }).GetAwaiter().GetResult();
        call.RequestStream.CompleteAsync().GetAwaiter().GetResult();
        string status = call.ResponseAsync.GetAwaiter().GetResult().Status;
        if (status.StartsWith("ERROR", StringComparison.Ordinal))
            throw new InvalidOperationException(status);
    }

    /// <summary>Creates an archive as numpy.savez writes it.</summary>
    private static byte[] CreateArchive(Models models, int model)
    {
        using var memory = new MemoryStream();
        using (var archive = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            for (int i = 0; i < models.Tensors.Count; i++)
            {
                using Stream stream = archive.CreateEntry($"{i}.npy", CompressionLevel.NoCompression).Open();
                string shape = string.Join(", ", models.Tensors[i].Shape.Dimensions.ToArray());
                string header = $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}".PadRight(117) + "\n";
                stream.Write([0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. Encoding.ASCII.GetBytes(header)]);
                stream.Write(models.Bytes(model, i));
            }
        }

        return memory.ToArray();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
