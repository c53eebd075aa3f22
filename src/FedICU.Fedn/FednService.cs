using System.Buffers;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using FedICU.Fedn.Npz;
using FedICU.Fedn.Protocol;
using FedICU.Text;
using Google.Protobuf;
using Grpc.Core;

namespace FedICU.Fedn;

/// <summary>
/// FEDn's function service with one function, the aggregation. A client's model that is refused is answered with the reason and remembered, and the aggregation decides by
/// the policy on-unreadable: an error here would make the combiner give up the whole round.
/// </summary>
internal sealed class FednService(FednOptions options, SessionStore store, FednMetrics metrics, ILogger<FednService> logger) : FunctionService.FunctionServiceBase
{
    private const string GlobalId = "global_model";
    private const int Chunk = 1 << 20;

    // characters; FEDn's ids have 36
    private const int MaxIdLength = 1000;

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    /// <summary>Says that the aggregation is provided. The combiner asks at the start of each round and never on a retry, so what an earlier round left goes here.</summary>
    public override Task<ProvidedFunctionsResponse> HandleProvidedFunctions(ProvidedFunctionsRequest request, ServerCallContext context) =>
        Run(context, options.StoreTimeout, async (session, cancellationToken) =>
        {
            await session.AloneAsync(() => session.Clear(keepGlobal: false), cancellationToken);
            FednLog.RoundBegins(logger, context.Host);
            return new ProvidedFunctionsResponse
            {
                AvailableFunctions = { ["client_selection"] = false, ["client_settings"] = false, ["aggregate"] = true, ["incremental_aggregate"] = false },
            };
        });

    /// <summary>Takes a client's weight.</summary>
    public override Task<ClientMetaResponse> HandleMetadata(ClientMetaRequest request, ServerCallContext context) =>
        Run(context, options.StoreTimeout, async (session, cancellationToken) =>
        {
            string id;
            try
            {
                id = ReadId(request.ClientId);
            }
            catch (InvalidModelException e)
            {
                return new ClientMetaResponse { Status = RefuseClient(context, e.Message) };
            }

            var metadata = ClientMetadata.Read(request.Metadata.Span);
            await session.AloneAsync(
                () =>
                {
                    Admit(session, id);
                    session.Set(session.Round, id, client => client with { Metadata = metadata });
                },
                cancellationToken);
            return new ClientMetaResponse { Status = metadata.Fault is { } fault ? RefuseUpdate(context, id, fault) : "Metadata stored" };
        });

    /// <summary>Takes the global model or a client's update.</summary>
    public override Task<StoreModelResponse> HandleStoreModel(IAsyncStreamReader<StoreModelRequest> requests, ServerCallContext context) =>
        Run(context, options.StoreTimeout, async (session, cancellationToken) =>
        {
            string archive = session.NewFile(".npz");
            string? model = session.NewFile(".safetensors");
            long bytes = 0;
            try
            {
                if (!await requests.MoveNext(cancellationToken))
                    throw Refuse("The stream of a model ended before its first message.");
                string id;
                try
                {
                    id = ReadId(requests.Current.Id);
                }
                catch (InvalidModelException e)
                {
                    return new StoreModelResponse { Status = RefuseClient(context, e.Message) };
                }

                bool isGlobal = id == GlobalId;
                string whose = isGlobal ? "The global model" : Client(id);
                if (!isGlobal)
                    await session.AloneAsync(() => Admit(session, id), cancellationToken);
                long round = session.Round;
                string? fault = null;
                byte[] digest = [];
                try
                {
                    (bytes, digest) = await ReceiveAsync(requests, whose, archive, cancellationToken);
                    // a retry reads the combiner's model where the first try left off, at its end
                    if (isGlobal && bytes == 0 && session.Global is not null)
                        return new StoreModelResponse { Status = "Received model originating from global_model: the one that came before is kept" };
                    await Task.Run(() => NpzReader.Copy(archive, TensorSink.ToFile(model), options.Npz, cancellationToken), cancellationToken);
                }
                catch (InvalidModelException e)
                {
                    fault = e.Message;
                }

                metrics.Received(isGlobal, fault is null, bytes);
                if (isGlobal && fault is not null)
                    throw Refuse($"{whose}: {fault}");
                await session.AloneAsync(
                    () =>
                    {
                        if (isGlobal)
                            session.SetGlobal(model, digest);
                        else if (!session.Set(round, id, client => client with { Path = fault is null ? model : null, Fault = fault ?? "" }))
                            throw new RpcException(new Status(StatusCode.Aborted, $"{whose}: the update came after its round."));
                    },
                    cancellationToken);

                if (fault is not null)
                    return new StoreModelResponse { Status = RefuseUpdate(context, id, fault) };
                model = null;
                FednLog.Stored(logger, context.Host, whose, bytes);
                return new StoreModelResponse { Status = $"Received model originating from {id}" };
            }
            finally
            {
                RoundSession.Delete(archive);
                RoundSession.Delete(model);
            }
        });

    /// <summary>Aggregates what came, and sends the new model.</summary>
    public override Task HandleAggregation(AggregationRequest request, IServerStreamWriter<AggregationResponse> responses, ServerCallContext context) =>
        Run(context, options.AggregationTimeout, async (session, cancellationToken) =>
        {
            await session.AloneAsync(
                async () =>
                {
                    if (session.Result is not null)
                        FednLog.SentAgain(logger, context.Host);
                    else
                        await AggregateAsync(session, session.Clients, context.Host, cancellationToken);
                    await SendAsync(session.Result!, responses, cancellationToken);
                },
                cancellationToken);
            return true;
        });

    private async Task AggregateAsync(RoundSession session, KeyValuePair<string, ClientEntry>[] clients, string host, CancellationToken cancellationToken)
    {
        if (session.Global is not { } globalPath)
            throw Refuse("No global model came before the aggregation.");
        if (clients.Length == 0)
            throw Refuse("No client's update came before the aggregation.");
        long start = Stopwatch.GetTimestamp();
        ConfiguredRound configured = options.Configured;
        string output = session.NewFile(".safetensors"), result = session.NewFile(".npz");
        try
        {
            using TensorSource global = TensorSource.Open(globalPath);
            var round = new AggregationRound(global, configured.Options);
            foreach ((string id, ClientEntry client) in clients)
            {
                round.Add(client.Path is { } path
                    ? ClientUpdate.FromFile(id, path, client.Metadata.Examples)
                    : ClientUpdate.FromTensors(id, new UnreadableUpdate(client.Fault), client.Metadata.Examples));
            }

            RoundReport report = (await configured.Aggregator.AggregateAsync(round, TensorSink.ToFile(output), cancellationToken)).Report;
            await Task.Run(() => WriteResult(output, result, cancellationToken), cancellationToken);
            session.SetResult(result);
            foreach (ClientReport client in report.Clients.Where(client => !client.Included))
                FednLog.LeftOut(logger, host, client.Reason ?? client.Id);
            FednLog.Aggregated(
                logger, host, report.Strategy, report.Clients.Count(client => client.Included), report.Clients.Count, Stopwatch.GetElapsedTime(start).TotalSeconds, new FileInfo(result).Length);
        }
        catch (Exception e)
        {
            RoundSession.Delete(result);
            // the library knows the weight as NaN, the metadata what was sent
            if (e is RoundRejectedException { Fault: RoundFault.Weight, ClientId: { } id } && clients.First(client => client.Key == id).Value.Metadata.Fault is { } fault)
                throw Refuse($"{Client(id)}: {fault}");
            throw;
        }
        finally
        {
            RoundSession.Delete(output);
        }
    }

    private static void WriteResult(string output, string result, CancellationToken cancellationToken)
    {
        using TensorSource model = TensorSource.Open(output);
        NpzWriter.Write(model, result, cancellationToken);
    }

    private async Task SendAsync(string path, IServerStreamWriter<AggregationResponse> responses, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0, useAsync: true);
        byte[] bytes = new byte[Chunk];
        int read;
        do
        {
            // a message is serialized before the write returns, so the bytes need no copy of their own
            read = await file.ReadAtLeastAsync(bytes, Chunk, throwOnEndOfStream: false, cancellationToken);
            await responses.WriteAsync(new AggregationResponse { Data = UnsafeByteOperations.UnsafeWrap(bytes.AsMemory(0, read)) }, cancellationToken);
            metrics.Sent(read);
        }
        while (read > 0);
    }

    /// <summary>Writes a model's chunks to a file until the empty one.</summary>
    /// <exception cref="InvalidModelException">The stream breaks a rule; the message is the end of a sentence that begins with the model's
    /// name.</exception>
    private async Task<(long Bytes, byte[] Digest)> ReceiveAsync(
        IAsyncStreamReader<StoreModelRequest> requests, string whose, string path, CancellationToken cancellationToken)
    {
        ByteString id = requests.Current.Id;
        long bytes = 0;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using FileStream file = new(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0, useAsync: true);
        do
        {
            ReadOnlyMemory<byte> data = requests.Current.Data.Memory;
            if (!requests.Current.Id.Equals(id))
                throw Refuse($"{whose}: a message of the stream is from {Sentence.Quote(ReadId(requests.Current.Id))}.");
            if (data.IsEmpty)
                return (bytes, hash.GetHashAndReset());
            bytes += data.Length;
            if (bytes > options.MaxModelBytes)
                throw new InvalidModelException($"the model has more than {options.MaxModelBytes} bytes.");
            hash.AppendData(data.Span);
            await file.WriteAsync(data, cancellationToken);
        }
        while (await requests.MoveNext(cancellationToken));
        throw new InvalidModelException($"the stream ended after {Sentence.Count(bytes, "byte")} without its last, empty message.");
    }

    private void Admit(RoundSession session, string id)
    {
        if (id is "" or GlobalId)
            throw Refuse($"The client's id is {Sentence.Quote(id)}; a name of its own, of at most {MaxIdLength} characters, was expected.");
        if (!session.Admit(id, options.MaxClients))
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"{Client(id)} is one too many; at most {options.MaxClients} were expected."));
    }

    /// <summary>
    /// Logs why an update or its metadata are refused, and makes the answer: an error of gRPC would make the combiner give up the whole
    /// round.
    /// </summary>
    private string RefuseUpdate(ServerCallContext context, string id, string fault) => RefuseClient(context, $"{Client(id)}: {fault}");

    private string RefuseClient(ServerCallContext context, string sentence)
    {
        FednLog.Refused(logger, context.Host, sentence);
        return $"ERROR: {sentence}";
    }

    /// <summary>Runs a call in its combiner's session, and answers failures with the status that makes the combiner do what helps.</summary>
    private async Task<T> Run<T>(ServerCallContext context, TimeSpan limit, Func<RoundSession, CancellationToken, Task<T>> call)
    {
        RoundSession session = store.Enter(context.Host) ??
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"{options.MaxSessions} combiners are at work; no more are served."));
        using var time = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        time.CancelAfter(limit);
        try
        {
            return await call(session, time.Token);
        }
        catch (RpcException e)
        {
            FednLog.Refused(logger, context.Host, e.Status.Detail);
            throw;
        }
        catch (Exception e) when (e is OperationCanceledException || e is IOException && context.CancellationToken.IsCancellationRequested)
        {
            throw new RpcException(context.CancellationToken.IsCancellationRequested
                ? new Status(StatusCode.Cancelled, "The call was cancelled.")
                : new Status(StatusCode.DeadlineExceeded, $"The call took longer than {limit.TotalSeconds} seconds."));
        }
        catch (Exception e) when (e is InvalidModelException or RoundRejectedException or InvalidOptionsException)
        {
            // the same again would be refused again: with this status the combiner does not try
            FednLog.Refused(logger, context.Host, e.Message);
            // where the spool lies is not the combiner's business
            throw Refuse(e.Message.Replace(store.Folder + Path.DirectorySeparatorChar, "", StringComparison.Ordinal));
        }
        catch (Exception e) when (e is FedIcuException or IOException or UnauthorizedAccessException)
        {
            // the disk may have room again: with this status the combiner tries twice more
            FednLog.Failed(logger, context.Host, e);
            throw new RpcException(new Status(StatusCode.Unavailable, "The spool cannot be written or read; the log says why."));
        }
        finally
        {
            session.Leave();
        }
    }

    private static string ReadId(ByteString id)
    {
        try
        {
            string text = Strict.GetString(id.Span);
            return text.Length <= MaxIdLength ? text : throw new InvalidModelException(
                $"The client's id is {Sentence.Quote(text)}; a name of at most {MaxIdLength} characters was expected.");
        }
        catch (DecoderFallbackException)
        {
            throw new InvalidModelException($"The client's id {Sentence.Quote(Encoding.UTF8.GetString(id.Span))} holds bytes that are not UTF-8.");
        }
    }

    private static string Client(string id) => $"Client {Sentence.Quote(id)}";

    private static RpcException Refuse(string sentence) => new(new Status(StatusCode.InvalidArgument, sentence));
}
