using System.Diagnostics;
using FedICU.Errors;
using FedICU.Fedn.Npz;
using FedICU.Fedn.Protocol;
using FedICU.Text;
using Grpc.Core;

namespace FedICU.Fedn;

/// <summary>
/// FEDn's function service with one function: the aggregation. When a client's model is refused, the answer gives the
/// reason and the session remembers it. The aggregation then applies the policy on-unreadable. A gRPC error would make
/// the combiner give up the whole round instead.
/// </summary>
internal sealed class FednService(
    FednOptions options, SessionStore store, FednMetrics metrics, ILogger<FednService> logger)
    : FunctionService.FunctionServiceBase
{
    /// <summary>
    /// Tells the combiner that only the aggregation is provided. The combiner asks once at the start of each round and
    /// never on a retry, so this call also clears what the previous round left.
    /// </summary>
    public override Task<ProvidedFunctionsResponse> HandleProvidedFunctions(ProvidedFunctionsRequest request, ServerCallContext context) =>
        RunInSession(context, options.StoreTimeout, async (session, cancellationToken) =>
        {
            await session.RunExclusiveAsync(() => session.Clear(keepGlobal: false), cancellationToken);
            FednLog.RoundBegins(logger, context.Host);
            return new ProvidedFunctionsResponse
            {
                AvailableFunctions =
                {
                    ["client_selection"] = false,
                    ["client_settings"] = false,
                    ["aggregate"] = true,
                    ["incremental_aggregate"] = false,
                },
            };
        });

    /// <summary>Stores a client's weight.</summary>
    public override Task<ClientMetaResponse> HandleMetadata(ClientMetaRequest request, ServerCallContext context) =>
        RunInSession(context, options.StoreTimeout, async (session, cancellationToken) =>
        {
            string id;
            try
            {
                id = ClientId.Read(request.ClientId);
            }
            catch (InvalidModelException e)
            {
                return new ClientMetaResponse { Status = RefuseClient(context, e.Message) };
            }

            var metadata = ClientMetadata.Read(request.Metadata.Span);
            string? refusal = null;
            await session.RunExclusiveAsync(
                () =>
                {
                    refusal = Admit(session, id);
                    if (refusal is null)
                        session.Set(session.Round, id, client => client with { Metadata = metadata });
                },
                cancellationToken);
            if (refusal is not null)
                return new ClientMetaResponse { Status = RefuseUpdate(context, id, refusal) };
            return new ClientMetaResponse { Status = metadata.Fault is { } fault ? RefuseUpdate(context, id, fault) : "Metadata stored" };
        });

    /// <summary>Stores the global model or a client's update.</summary>
    public override Task<StoreModelResponse> HandleStoreModel(IAsyncStreamReader<StoreModelRequest> requests, ServerCallContext context) =>
        RunInSession(context, options.StoreTimeout, async (session, cancellationToken) =>
        {
            if (!await requests.MoveNext(cancellationToken))
                throw Refuse("The stream of a model ended before its first message.");
            string id;
            try
            {
                id = ClientId.Read(requests.Current.Id);
            }
            catch (InvalidModelException e)
            {
                return new StoreModelResponse { Status = RefuseClient(context, e.Message) };
            }

            Upload? upload = null;
            string? refusal = null;
            await session.RunExclusiveAsync(
                () =>
                {
                    refusal = id == ClientId.GlobalModel ? null : Admit(session, id);
                    if (refusal is null)
                        upload = session.BeginUpload(id, cancellationToken);
                },
                cancellationToken);
            if (upload is null)
                return new StoreModelResponse { Status = RefuseUpdate(context, id, refusal!) };
            try
            {
                return new StoreModelResponse { Status = await StoreAsync(session, upload, requests, context) };
            }
            catch (OperationCanceledException) when (upload.IsTooLate)
            {
                throw TooLate(id);
            }
            finally
            {
                session.EndUpload(upload);
            }
        });

    /// <summary>
    /// Aggregates the received updates and sends the new model. A repeated call sends the same model again.
    /// </summary>
    public override Task HandleAggregation(
        AggregationRequest request, IServerStreamWriter<AggregationResponse> responses, ServerCallContext context) =>
        RunInSession(context, options.AggregationTimeout, async (session, cancellationToken) =>
        {
            SpoolFile? result = null;
            IDisposable? held = null;
            await session.RunExclusiveAsync(
                async () =>
                {
                    if (session.Result is not null)
                        FednLog.SentAgain(logger, context.Host);
                    else
                        await AggregateAsync(session, session.Clients, context.Host, cancellationToken);
                    result = session.Result!;
                    held = result.Hold();
                },
                cancellationToken);
            // outside of the session's lock: a slow reader delays nobody
            using (held)
                await ModelStream.SendAsync(result!.Path, responses, metrics, cancellationToken);
            session.MarkSent(result);
            return true;
        });

    /// <summary>Creates an error with a status after which the combiner does not try again.</summary>
    internal static RpcException Refuse(string sentence) => new(new Status(StatusCode.InvalidArgument, sentence));

    private static string RemovePlaces(Exception e)
    {
        var rejected = e as RoundRejectedException;
        return ClientSentence.RemovePlaces(e.Message, rejected?.ClientId, rejected?.Tensor) ??
            "The round is refused; the service's log says why.";
    }

    private static RpcException TooLate(string id) =>
        new(new Status(StatusCode.Aborted, $"{Describe(id)}: the model arrived after its round was over."));

    private static string Describe(string id) => id == ClientId.GlobalModel ? "The global model" : ClientId.Describe(id);

    /// <summary>Receives a model, unpacks it and adds it to the round. Returns the answer.</summary>
    private async Task<string> StoreAsync(
        RoundSession session, Upload upload, IAsyncStreamReader<StoreModelRequest> requests, ServerCallContext context)
    {
        CancellationToken cancellationToken = upload.Token;
        bool isGlobal = upload.Id == ClientId.GlobalModel;
        string whose = Describe(upload.Id), digest = "";
        SpoolFile archive = session.NewFile(".npz");
        SpoolFile? model = session.NewFile(".safetensors");
        Exception? fault = null;
        long bytes = 0;
        try
        {
            try
            {
                (bytes, digest) = await ModelStream.ReceiveAsync(requests, whose, archive, options.MaxModelBytes, cancellationToken);
                // a retry sends an empty stream: the combiner has read its model to the end at the first try
                if (isGlobal && bytes == 0 && session.Global is not null)
                    return "Received model originating from global_model: the earlier one is kept";
                await Task.Run(
                    () =>
                    {
                        NpzReader.Copy(archive.Path, new SpoolSink(model), options.Npz, cancellationToken);
                        model.Seal();
                    },
                    cancellationToken);
            }
            catch (Exception e) when (e is InvalidModelException or SpoolFullException)
            {
                fault = e;
            }

            metrics.Received(isGlobal, fault is null, bytes);
            if (isGlobal && fault is not null)
            {
                StatusCode code = fault is SpoolFullException ? StatusCode.ResourceExhausted : StatusCode.InvalidArgument;
                throw new RpcException(new Status(code, $"{whose}: {fault.Message}"));
            }

            bool isInTime = true;
            await session.RunExclusiveAsync(
                () =>
                {
                    // of two uploads of the global model the later one counts
                    if (upload.IsTooLate)
                        isInTime = false;
                    else if (isGlobal)
                        session.SetGlobal(model, digest);
                    else if (fault is null)
                        isInTime = session.Set(upload.Round, upload.Id, client => client with { File = model, Fault = null });
                    else
                        isInTime = session.Set(upload.Round, upload.Id, client => client with { Fault = fault.Message });
                },
                cancellationToken);
            if (!isInTime)
                throw TooLate(upload.Id);
            if (fault is not null)
                return RefuseUpdate(context, upload.Id, fault.Message);
            // the session owns the file now
            model = null;
            FednLog.Stored(logger, context.Host, whose, bytes);
            return $"Received model originating from {upload.Id}";
        }
        finally
        {
            archive.Delete();
            model?.Delete();
        }
    }

    private async Task AggregateAsync(
        RoundSession session, KeyValuePair<string, ClientEntry>[] clients, string host, CancellationToken cancellationToken)
    {
        if (session.Global is not { } globalFile)
            throw Refuse("No global model was received before the aggregation.");
        if (clients.Length == 0)
            throw Refuse("No client's update was received before the aggregation.");
        long start = Stopwatch.GetTimestamp();
        ConfiguredRound configured = options.Configured;
        SpoolFile output = session.NewFile(".safetensors"), result = session.NewFile(".npz");
        try
        {
            using TensorSource global = TensorSource.Open(globalFile.Path);
            AggregationRound round = await Task.Run(() => CreateRound(global, host, cancellationToken), cancellationToken);
            foreach ((string id, ClientEntry client) in clients)
            {
                double? examples = client.Metadata?.Examples;
                round.Add(client.File is { } file
                    ? ClientUpdate.FromFile(id, file.Path, examples)
                    : ClientUpdate.FromTensors(id, new UnreadableUpdate(client.WhyMissing), examples));
            }

            RoundReport report = (await configured.Aggregator.AggregateAsync(round, new SpoolSink(output), cancellationToken)).Report;
            await Task.Run(() => WriteResult(output, result, cancellationToken), cancellationToken);
            session.SetResult(result);
            foreach (ClientReport client in report.Clients.Where(client => !client.Included))
                FednLog.LeftOut(logger, host, client.Reason ?? client.Id);
            int included = report.Clients.Count(client => client.Included);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            FednLog.Aggregated(logger, host, report.Strategy, included, report.Clients.Count, seconds, result.Seal().Length);
        }
        catch (Exception e)
        {
            result.Delete();
            // The library was given NaN for a weight that cannot be read, so only the metadata's fault can quote what
            // was sent.
            if (e is RoundRejectedException { Fault: RoundFault.Weight, ClientId: { } id } &&
                clients.First(client => client.Key == id).Value.Metadata?.Fault is { } fault)
            {
                throw Refuse($"{ClientId.Describe(id)}: {fault}");
            }

            throw;
        }
        finally
        {
            output.Delete();
        }
    }

    /// <summary>Creates a round without clients, with the combiner's state if the rule keeps one.</summary>
    private AggregationRound CreateRound(TensorSource global, string host, CancellationToken cancellationToken)
    {
        ConfiguredRound configured = options.Configured;
        if (!configured.Aggregator.KeepsState)
            return new AggregationRound(global, configured.Options);
        string digest = ModelDigest.Compute(global, options.Threads, cancellationToken);
        return new AggregationRound(global, configured.Options)
        {
            GlobalDigest = digest,
            State = new CombinerState(options.StateFolder, host).Open(digest),
        };
    }

    private static void WriteResult(SpoolFile output, SpoolFile result, CancellationToken cancellationToken)
    {
        using TensorSource model = TensorSource.Open(output.Path);
        result.Grow(NpzWriter.Bound(model));
        NpzWriter.Write(model, result.Path, cancellationToken);
        result.Settle();
        result.Seal();
    }

    /// <summary>
    /// Returns why a client's metadata or model is refused, as the end of a sentence that begins with the client's
    /// name; null if it is not.
    /// </summary>
    private string? Admit(RoundSession session, string id)
    {
        if (id is "" or ClientId.GlobalModel)
        {
            throw Refuse(
                $"The client's id is {Sentence.Quote(id)}; another name, of 1 to {ClientId.MaxLength} characters, was expected.");
        }

        switch (session.Admit(id, options.MaxClients, options.ReplaceUpdates))
        {
            case UploadRefusal.TooManyClients:
                string sentence = $"{ClientId.Describe(id)} is one too many; at most {options.MaxClients} were expected.";
                throw new RpcException(new Status(StatusCode.ResourceExhausted, sentence));
            case UploadRefusal.IsOpen:
                return "an upload of this client has not ended; one at a time was expected.";
            case UploadRefusal.HasUpdate:
                return "an update of this client was accepted in this round; one was expected, " +
                    "or FedIcu:ReplaceUpdates=true, with which the last one counts.";
            case UploadRefusal.IsUnsent:
                return "the update came too late: the round's new model exists and was not sent yet.";
            default:
                return null;
        }
    }

    /// <summary>
    /// Logs why an update or its metadata are refused, and returns the answer. A gRPC error would make the combiner
    /// give up the whole round.
    /// </summary>
    private string RefuseUpdate(ServerCallContext context, string id, string fault) =>
        RefuseClient(context, $"{ClientId.Describe(id)}: {fault}");

    private string RefuseClient(ServerCallContext context, string sentence)
    {
        FednLog.Refused(logger, context.Host, sentence);
        return $"ERROR: {sentence}";
    }

    /// <summary>
    /// Runs a call in its combiner's session. Turns failures into the status that makes the combiner retry if a retry
    /// can help, and give up otherwise.
    /// </summary>
    private async Task<T> RunInSession<T>(ServerCallContext context, TimeSpan limit, Func<RoundSession, CancellationToken, Task<T>> call)
    {
        RoundSession? session = null;
        using var time = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        time.CancelAfter(limit);
        try
        {
            session = store.Enter(context.Host) ??
                throw new RpcException(new Status(
                    StatusCode.ResourceExhausted, $"{options.MaxSessions} combiners are being served; no more are accepted."));
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
        catch (SpoolFullException e)
        {
            FednLog.Refused(logger, context.Host, e.Message);
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"The new model: {e.Message}"));
        }
        catch (Exception e) when (e is InvalidModelException or RoundRejectedException or InvalidOptionsException)
        {
            // the same input would be refused again, so the status must be one that the combiner does not retry
            FednLog.Refused(logger, context.Host, e.Message);
            // the combiner has no business knowing the folders' paths
            throw Refuse(RemovePlaces(e));
        }
        catch (Exception e) when (e is FedIcuException or IOException or UnauthorizedAccessException)
        {
            // the disk may have room again later: with this status the combiner retries twice
            FednLog.Failed(logger, context.Host, e);
            throw new RpcException(new Status(StatusCode.Unavailable, "The spool cannot be written or read; the log says why."));
        }
        finally
        {
            session?.Leave();
        }
    }
}
