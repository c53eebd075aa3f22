using System.Globalization;
using FedICU.Clients;
using FedICU.Compute;
using FedICU.Panels;

namespace FedICU;

/// <summary>
/// FedICU's client: importance-aware updating. It sends the entries of a trained model whose update is more important
/// than the received model, and leaves the received value in all others (docs/algorithms.md, FedICU: the client).
/// </summary>
/// <remarks>
/// The momentum is the client's only state. It is read from a <see cref="TensorSource"/> and written to a
/// <see cref="TensorSink"/>, as models are, so the caller decides where it is kept.
/// </remarks>
public sealed class FedIcuClient
{
    // the largest number of elements of a small tensor, which cannot keep several threads busy (chosen)
    private const long SmallTensor = 1 << 20;

    private readonly FedIcuClientOptions _options;

    /// <summary>Creates a client.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedIcuClient(FedIcuClientOptions? options = null)
    {
        _options = options ?? new FedIcuClientOptions();
        _options.Validate();
    }

    /// <summary>Masks a trained model and writes the update to upload.</summary>
    /// <param name="global">The received model, theta_g.</param>
    /// <param name="local">The trained model, theta_k, with the same names, shapes and types.</param>
    /// <param name="output">
    /// Receives the update: packed values with bit masks (docs/adr/0006), or ordinary tensors. A packed update of an
    /// adapter or a sharded model must be one file.
    /// </param>
    /// <param name="momentum">
    /// The momentum that <paramref name="momentumOutput"/> received in the previous round, or the values that
    /// <see cref="MomentumRule.Supplied"/> asks for; null in the first round.
    /// </param>
    /// <param name="momentumOutput">
    /// Receives the new momentum in F32 (F64 for F64 tensors); null does not keep it.
    /// </param>
    /// <param name="dense">Whether to write the masked model as ordinary tensors.</param>
    /// <param name="backend">The backend that computes; null for SIMD.</param>
    /// <param name="cancellationToken">Stops the work; nothing is then written.</param>
    /// <returns>The number of entries and bytes sent of each tensor, and the bytes saved.</returns>
    /// <exception cref="FedIcuException">
    /// The models do not fit each other, or hold values that are not finite. The message is one sentence.
    /// </exception>
    public MaskReport CreateUpdate(
        TensorSource global, TensorSource local, TensorSink output, TensorSource? momentum = null, TensorSink? momentumOutput = null,
        bool dense = false, IClientBackend? backend = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(global);
        ArgumentNullException.ThrowIfNull(local);
        ArgumentNullException.ThrowIfNull(output);
        if (_options.Momentum == MomentumRule.Supplied && momentum is null)
            throw new InvalidOptionsException(["momentum is 'supplied', but no momentum was given."]);
        using var run = new MaskRun(_options, global, local, momentum, momentumOutput, dense, backend ?? new SimdBackend());
        ClientModelCheck.Run(run);
        // A sharded model's index has no place for packed values and masks, and PEFT ignores them beside an adapter's
        // configuration.
        if (!run.IsDense && global is PeftAdapter or ShardedModel && output.Place is { IsFolder: true } place)
        {
            throw new FedIcuException(
                $"'{place.Path}': the packed update of {(global is PeftAdapter ? "an adapter" : "a sharded model")} is one file; " +
                "TensorSink.ToFile or a dense update was expected.");
        }

        long? round = momentum is null && momentumOutput is null ? null
            : _options.Round ?? MomentumState.RoundOf(local) ?? MomentumState.RoundOf(global);
        string? required = momentum is null ? null : MomentumState.RequiredBase(momentum, round);
        string? digest = _options.BaseDigest;
        // The first pass hashes the received model. If its digest is needed before that, it takes a pass of its own.
        if (required is not null || momentumOutput is { CanAmend: false })
            digest ??= ModelDigest.Compute(global, _options.Threads, cancellationToken);
        run.Hashes = digest is null;
        if (required is not null && required != digest)
        {
            throw new InvalidModelException(
                $"'{momentum!.Location}': the momentum was made in this round, {round}, against the model {required}; " +
                $"one of an earlier round, or made against {digest}, was expected.");
        }

        using var workers = new Workers(_options.Threads, cancellationToken);
        MaskedTensor[] tensors = [.. global.Tensors.Select(tensor => new MaskedTensor(run, tensor))];
        momentumOutput?.Begin(
            [.. global.Tensors.Where(tensor => tensor.DType.IsComputed).Select(MaskRun.MomentumInfo)],
            MomentumState.Describe(digest ?? ModelDigest.Unknown, round));
        try
        {
            ForEach(tensors, workers, "select", (tensor, threads) => tensor.Decide(threads), GetSmallLimit(run, workers));
            if (digest is null)
            {
                digest = ModelDigest.Of(global, [.. tensors.Select(tensor => tensor.Hash)]);
                momentumOutput?.Amend(MomentumState.Describe(digest, round));
            }

            Write(run, output, tensors, MetadataOf(local, digest, tensors), workers);
            // The momentum is committed after the update. If the machine stops in between, the old momentum makes the
            // same update again.
            momentumOutput?.Commit();
        }
        catch
        {
            momentumOutput?.Abort();
            throw;
        }
        finally
        {
            Array.ForEach(tensors, tensor => tensor.Dispose());
        }

        return new MaskReport([.. tensors.Select(tensor => tensor.Report)]);
    }

    private void Write(
        MaskRun run, TensorSink output, MaskedTensor[] tensors, IReadOnlyDictionary<string, string> metadata, Workers workers)
    {
        output.Begin([.. tensors.SelectMany(tensor => tensor.Outputs)], metadata);
        try
        {
            ForEach(tensors, workers, "write", (tensor, threads) => tensor.Write(output, threads), SmallTensor);
            run.Global.RequireUnchanged();
            run.Local.RequireUnchanged();
            run.Momentum?.RequireUnchanged();
            output.Commit();
        }
        catch
        {
            output.Abort();
            throw;
        }
    }

    /// <summary>Returns the largest number of elements of a tensor that is decided on one thread.</summary>
    private long GetSmallLimit(MaskRun run, Workers workers)
    {
        // Only one thread at a time can hash a tensor, so tensors up to a thread's share of the model run side by side.
        // Ranks would take too much memory for several large tensors at once.
        bool ranks = _options.Importance == ImportanceRule.Rank;
        return run.Hashes && !ranks
            ? Math.Max(SmallTensor, run.Global.Tensors.Sum(tensor => tensor.ElementCount) / workers.Threads)
            : SmallTensor;
    }

    /// <summary>Runs a step for each tensor and reports the progress.</summary>
    private void ForEach(MaskedTensor[] tensors, Workers workers, string phase, Action<MaskedTensor, Workers> step, long largestSmall)
    {
        using var oneThread = new Workers(1, workers.CancellationToken);
        long done = 0, total = tensors.Sum(tensor => tensor.Info.ByteLength);
        var gate = new Lock();
        // only one thread at a time may call a caller's own importance
        long? small = _options.ImportanceFunction is null ? largestSmall : null;
        TensorBatches.Run(
            workers, tensors.Length, i => tensors[i].Info.ElementCount, small,
            i => Run(tensors[i], oneThread), i => Run(tensors[i], workers));

        void Run(MaskedTensor tensor, Workers threads)
        {
            step(tensor, threads);
            lock (gate)
                _options.Progress?.Report(new RoundProgress(phase, tensor.Info.Name, done += tensor.Info.ByteLength, total));
        }
    }

    /// <summary>Returns the update's metadata: the trained model's, and what the update says of itself.</summary>
    private Dictionary<string, string> MetadataOf(TensorSource local, string digest, MaskedTensor[] tensors)
    {
        Dictionary<string, string> metadata = local.Metadata
            .Where(pair => !pair.Key.StartsWith(MetadataKeys.ShapePrefix, StringComparison.Ordinal))
            .ToDictionary(StringComparer.Ordinal);
        metadata[MetadataKeys.Base] = digest;
        metadata[MetadataKeys.Update] = (tensors.Any(tensor => tensor.IsPacked) ? UpdateKind.Sparse : UpdateKind.Full).Text();
        if (_options.Round is { } round)
            metadata[MetadataKeys.Round] = round.ToString(CultureInfo.InvariantCulture);
        foreach (MaskedTensor tensor in tensors.Where(tensor => tensor.IsPacked))
            metadata[MetadataKeys.ShapePrefix + tensor.Info.Name] = tensor.Info.Shape.ToString();
        return metadata;
    }
}
