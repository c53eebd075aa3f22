using System.Globalization;
using FedICU.Clients;
using FedICU.Compute;
using FedICU.Model;
using FedICU.Panels;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// FedICU's client: importance-aware updating (docs/algorithms.md, FedICU: the client). Of a trained model, what is more important than the received model is sent;
/// the rest keeps the received value. The momentum is the client's state: it goes in and comes out through the same sources and sinks as models.
/// </summary>
public sealed class FedIcuClient
{
    // up to so many elements, a tensor does not keep several threads busy
    private const long SmallTensor = 1 << 20;

    private const string MomentumState = "momentum";

    private readonly FedIcuClientOptions _options;

    /// <summary>Makes the client's side.</summary>
    /// <param name="options">Its options; null: the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options contradict their rules; the message lists all errors.</exception>
    public FedIcuClient(FedIcuClientOptions? options = null)
    {
        _options = options ?? new FedIcuClientOptions();
        _options.Validate();
    }

    /// <summary>Masks a trained model and writes what is to be uploaded.</summary>
    /// <param name="global">The model as received, theta_g.</param>
    /// <param name="local">The model as trained, theta_k: the same names, shapes and types.</param>
    /// <param name="output">Takes the update: packed values and bit masks (docs/adr/0006), of an adapter or a sharded model in one file only; or ordinary tensors.</param>
    /// <param name="momentum">The momentum of the round before, as <paramref name="momentumOutput"/> took it, or what the options say is supplied; null the first time.</param>
    /// <param name="momentumOutput">Takes the new momentum, F32 (F64 for F64 tensors); null where it is not kept.</param>
    /// <param name="dense">True writes the masked model as ordinary tensors.</param>
    /// <param name="backend">What computes; null: SIMD.</param>
    /// <param name="cancellationToken">Ends the work without output.</param>
    /// <returns>What is sent of each tensor, and the bytes saved.</returns>
    /// <exception cref="FedIcuException">The models do not fit each other, or hold values that are not finite; one sentence.</exception>
    public MaskReport CreateUpdate(
        TensorSource global, TensorSource local, TensorSink output, TensorSource? momentum = null, TensorSink? momentumOutput = null, bool dense = false,
        IClientBackend? backend = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(global);
        ArgumentNullException.ThrowIfNull(local);
        ArgumentNullException.ThrowIfNull(output);
        if (_options.Momentum == MomentumRule.Supplied && momentum is null)
            throw new InvalidOptionsException(["momentum is supplied, and none was given."]);
        var run = new MaskRun(_options, global, local, momentum, momentumOutput, dense, backend ?? new SimdBackend());
        Check(run);
        // the index of a sharded model has no place for packed values and masks, and PEFT finds none of its tensors beside an adapter's config
        if (!run.IsDense && global is PeftAdapter or ShardedModel && output.Place is { IsFolder: true } place)
        {
            throw new FedIcuException(
                $"'{place.Path}': the packed update of {(global is PeftAdapter ? "an adapter" : "a sharded model")} is one file; TensorSink.ToFile or a dense update was expected.");
        }

        long? round = momentum is null && momentumOutput is null ? null : _options.Round ?? RoundOf(local) ?? RoundOf(global);
        string? digest = _options.BaseDigest, own = momentum is null ? null : BaseOf(momentum, round);
        // the first look at the received model hashes it; who wants its digest before takes a look for that alone
        if (own is not null || momentumOutput is { CanAmend: false })
            digest ??= ModelDigest.Compute(global, _options.Threads, cancellationToken);
        run.Hashes = digest is null;
        if (own is not null && own != digest)
        {
            throw new InvalidModelException(
                $"'{momentum!.Location}': the momentum is of this round, {round}, and of an update against the model {own}; one of a round before, or against {digest}, was expected.");
        }

        using var workers = new Workers(_options.Threads, cancellationToken);
        MaskedTensor[] tensors = [.. global.Tensors.Select(tensor => new MaskedTensor(run, tensor))];
        momentumOutput?.Begin([.. global.Tensors.Where(tensor => tensor.DType.IsComputed).Select(MaskRun.MomentumInfo)], StateOf(digest ?? ModelDigest.Unknown, round));
        try
        {
            // a tensor's hash is made by one thread at a time; ranks take too much memory for several large tensors at once
            long share = run.Hashes && _options.Importance != ImportanceRule.Rank ? global.Tensors.Sum(tensor => tensor.ElementCount) / workers.Threads : 0;
            ForEach(tensors, workers, "select", (tensor, on) => tensor.Decide(on), Math.Max(SmallTensor, share));
            if (digest is null)
            {
                digest = ModelDigest.Of(global, [.. tensors.Select(tensor => tensor.Hash)]);
                momentumOutput?.Amend(StateOf(digest, round));
            }

            output.Begin([.. tensors.SelectMany(tensor => tensor.Outputs)], MetadataOf(local, digest, tensors));
            try
            {
                ForEach(tensors, workers, "write", (tensor, on) => tensor.Write(output, on));
                global.RequireUnchanged();
                local.RequireUnchanged();
                momentum?.RequireUnchanged();
                output.Commit();
            }
            catch
            {
                output.Abort();
                throw;
            }

            // after the update: where the machine stops between the two, the same update is made again from the old momentum
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

    /// <summary>A step for each tensor: large ones one after the other on all threads, runs of those of up to <paramref name="largest"/> elements side by side.</summary>
    private void ForEach(MaskedTensor[] tensors, Workers workers, string phase, Action<MaskedTensor, Workers> step, long largest = SmallTensor)
    {
        using var alone = new Workers(1, workers.CancellationToken);
        long done = 0, total = tensors.Sum(tensor => tensor.Info.ByteLength);
        var gate = new Lock();
        // a caller's own importance is called by one thread at a time
        long small = _options.ImportanceFunction is null ? largest : -1;
        for (int i = 0; i < tensors.Length; i++)
        {
            int first = i;
            long elements = 0;
            for (; i < tensors.Length && tensors[i].Info.ElementCount is var own && own <= small; i++)
                elements += own;
            if (i > first)
                workers.Run(i - first, elements >= Workers.WorthThreads, (piece, _) => Make(tensors[first + piece], alone));
            if (i < tensors.Length)
                Make(tensors[i], workers);
        }

        void Make(MaskedTensor tensor, Workers on)
        {
            step(tensor, on);
            lock (gate)
                _options.Progress?.Report(new RoundProgress(phase, tensor.Info.Name, done += tensor.Info.ByteLength, total));
        }
    }

    /// <summary>The trained model's metadata, and what the update says of itself.</summary>
    private Dictionary<string, string> MetadataOf(TensorSource local, string digest, MaskedTensor[] tensors)
    {
        var metadata = local.Metadata.Where(pair => !pair.Key.StartsWith(MetadataKeys.ShapePrefix, StringComparison.Ordinal)).ToDictionary(StringComparer.Ordinal);
        metadata[MetadataKeys.Base] = digest;
        metadata[MetadataKeys.Update] = (tensors.Any(tensor => tensor.Packed) ? UpdateKind.Sparse : UpdateKind.Full).Text();
        if (_options.Round is { } round)
            metadata[MetadataKeys.Round] = round.ToString(CultureInfo.InvariantCulture);
        foreach (MaskedTensor tensor in tensors.Where(tensor => tensor.Packed))
            metadata[MetadataKeys.ShapePrefix + tensor.Info.Name] = tensor.Info.Shape.ToString();
        return metadata;
    }

    private static Dictionary<string, string> StateOf(string digest, long? round)
    {
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal) { [MetadataKeys.State] = MomentumState, [MetadataKeys.Base] = digest };
        if (round is { } number)
            metadata[MetadataKeys.Round] = number.ToString(CultureInfo.InvariantCulture);
        return metadata;
    }

    /// <summary>A momentum goes from round to round and model to model, but only forward: the base that one of the present round must share; null for others.</summary>
    private static string? BaseOf(TensorSource momentum, long? round)
    {
        if (round is not { } present || RoundOf(momentum) is not { } kept || kept < present)
            return null;
        return kept == present
            ? momentum.Metadata.GetValueOrDefault(MetadataKeys.Base)
            : throw new InvalidModelException($"'{momentum.Location}': the momentum is of round {kept}; one of a round before {present} was expected.");
    }

    private static long? RoundOf(TensorSource source)
    {
        if (!source.Metadata.TryGetValue(MetadataKeys.Round, out string? text))
            return null;
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long round)
            ? round
            : throw new InvalidModelException($"'{source.Location}': metadata '{MetadataKeys.Round}' is '{text}'; a whole number was expected.");
    }

    /// <summary>What is no momentum would be averaged with the update, and nothing would tell. A caller's own gradients (supplied) need not say what they are.</summary>
    private static void CheckState(TensorSource momentum, MomentumRule rule)
    {
        string? kind = momentum.Metadata.GetValueOrDefault(MetadataKeys.Update), state = momentum.Metadata.GetValueOrDefault(MetadataKeys.State);
        if (kind is not null and not "full")
            throw new InvalidModelException($"'{momentum.Location}': metadata '{MetadataKeys.Update}' is {Sentence.Quote(kind)}, a client's update; a momentum was expected.");
        if (state != MomentumState && (state is not null || rule == MomentumRule.Ema))
        {
            throw new InvalidModelException(
                $"'{momentum.Location}': metadata '{MetadataKeys.State}' is {(state is null ? "missing" : Sentence.Quote(state))}; '{MomentumState}' was expected.");
        }
    }

    private static void Check(MaskRun run)
    {
        (TensorSource global, TensorSource local, TensorSource? momentum) = (run.Global, run.Local, run.Momentum);
        foreach (TensorSource model in (ReadOnlySpan<TensorSource>)[global, local])
        {
            if (model.DescribeNoModel() is { } other)
                throw new InvalidModelException(other);
            if (QuantizedTensors.Find(model.Tensors, model.Find) is [var quantized, ..])
                throw new InvalidModelException($"'{model.Location}': tensor {quantized.Describe()}.");
        }

        // a file without any metadata may be another tool's momentum: its types must be a momentum's then
        bool bare = momentum is { Metadata.Count: 0 } && run.Options.Momentum == MomentumRule.Ema;
        if (momentum is not null && !bare)
            CheckState(momentum, run.Options.Momentum);
        var used = new HashSet<TensorInfo?>();
        foreach (TensorInfo expected in global.Tensors)
        {
            TensorInfo? found = local.FindTied(expected.Name);
            used.Add(found);
            if (found is null)
                throw new InvalidModelException($"'{local.Location}': tensor '{expected.Name}' is missing; {expected} was expected.");
            if ((found.DType, found.Shape) != (expected.DType, expected.Shape))
                throw new InvalidModelException($"'{local.Location}': tensor '{expected.Name}' is {found}; {expected} was expected, as in '{global.Location}'.");
            if (momentum is null || !expected.DType.IsComputed)
                continue;
            if (momentum.Find(expected.Name) is not { } kept)
                throw new InvalidModelException($"'{momentum.Location}': the momentum of tensor '{expected.Name}' is missing; {MaskRun.MomentumInfo(expected)} was expected.");
            if (kept.Shape != expected.Shape || !kept.DType.IsComputed || bare && kept.DType != MaskRun.MomentumInfo(expected).DType)
                throw new InvalidModelException($"'{momentum.Location}': the momentum of tensor '{expected.Name}' is {kept}; {MaskRun.MomentumInfo(expected)} was expected.");
        }

        foreach (TensorInfo extra in local.Tensors.Where(tensor => !used.Contains(tensor)))
            throw new InvalidModelException($"'{local.Location}': tensor '{extra.Name}' of {extra} is not in the global model '{global.Location}'.");
    }
}
