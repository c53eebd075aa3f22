using System.Globalization;
using FedICU.Compute;

namespace FedICU;

/// <summary>
/// FedICU's client: importance-aware updating (docs/algorithms.md, FedICU: the client). Of a trained model, what is more important than the received model is sent;
/// the rest keeps the received value. The momentum is the client's state: it goes in and comes out through the same sources and sinks as models.
/// </summary>
public sealed class FedIcuClient
{
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
    /// <param name="output">Takes the update: packed values and bit masks (docs/adr/0006), or ordinary tensors.</param>
    /// <param name="momentum">The momentum of the round before; null the first time.</param>
    /// <param name="momentumOutput">Takes the new momentum, F32 (F64 for F64 tensors); null where it is not kept.</param>
    /// <param name="dense">True writes the masked model as ordinary tensors.</param>
    /// <param name="backend">What computes; null: SIMD.</param>
    /// <param name="cancellationToken">Ends the work without output.</param>
    /// <returns>What is sent of each tensor, and the bytes saved.</returns>
    /// <exception cref="FedIcuException">The models do not fit each other, or hold values that are not finite; one sentence.</exception>
    public MaskReport CreateUpdate(
        TensorSource global, TensorSource local, TensorSink output, TensorSource? momentum = null, TensorSink? momentumOutput = null, bool dense = false,
        IComputeBackend? backend = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(global);
        ArgumentNullException.ThrowIfNull(local);
        ArgumentNullException.ThrowIfNull(output);
        if (_options.Momentum == MomentumRule.Supplied && momentum is null)
            throw new InvalidOptionsException(["momentum is supplied, and none was given."]);
        Check(global, local, momentum);
        using var workers = new Workers(_options.Threads, cancellationToken);
        List<MaskedTensor> tensors = [];
        momentumOutput?.Begin(
            [.. global.Tensors.Where(tensor => tensor.DType.IsComputed).Select(MomentumInfo)], new Dictionary<string, string> { ["fedicu.state"] = "momentum" });
        try
        {
            foreach (TensorInfo tensor in global.Tensors)
                tensors.Add(new MaskedTensor(_options, tensor, global, local, momentum, momentumOutput, MomentumInfo(tensor), backend ?? new SimdBackend(), workers));

            Write(global, local, output, tensors, dense, cancellationToken);
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
            tensors.ForEach(tensor => tensor.Dispose());
        }

        return new MaskReport([.. tensors.Select(tensor => tensor.Report)]);
    }

    private void Write(
        TensorSource global, TensorSource local, TensorSink output, List<MaskedTensor> tensors, bool dense, CancellationToken cancellationToken)
    {
        var metadata = new Dictionary<string, string>(local.Metadata, StringComparer.Ordinal)
        {
            [MetadataKeys.Base] = ModelDigest.Compute(global, _options.Threads, cancellationToken),
        };
        var infos = new List<TensorInfo>();
        foreach (MaskedTensor tensor in tensors)
        {
            tensor.Packed = !dense && tensor.PacksSmaller;
            infos.AddRange(tensor.Outputs);
            if (tensor.Packed)
                metadata[MetadataKeys.ShapePrefix + tensor.Info.Name] = tensor.Info.Shape.ToString();
        }

        metadata[MetadataKeys.Update] = (tensors.Any(tensor => tensor.Packed) ? UpdateKind.Sparse : UpdateKind.Full).Text();
        output.Begin(infos, metadata);
        try
        {
            tensors.ForEach(tensor => tensor.Write(output));
            output.Commit();
        }
        catch
        {
            output.Abort();
            throw;
        }
    }

    private static TensorInfo MomentumInfo(TensorInfo tensor) => tensor with { DType = tensor.DType == DType.F64 ? DType.F64 : DType.F32 };

    private static void Check(TensorSource global, TensorSource local, TensorSource? momentum)
    {
        foreach (TensorInfo expected in global.Tensors)
        {
            if (local.Find(expected.Name) is not { } found)
                throw new InvalidModelException($"'{local.Location}': tensor '{expected.Name}' is missing; {expected} was expected.");
            if (found != expected)
                throw new InvalidModelException($"'{local.Location}': tensor '{expected.Name}' is {found}; {expected} was expected, as in '{global.Location}'.");
            if (momentum is null || !expected.DType.IsComputed)
                continue;
            if (momentum.Find(expected.Name) is not { } kept)
                throw new InvalidModelException($"'{momentum.Location}': the momentum of tensor '{expected.Name}' is missing; {MomentumInfo(expected)} was expected.");
            if (kept.Shape != expected.Shape || !kept.DType.IsComputed)
                throw new InvalidModelException($"'{momentum.Location}': the momentum of tensor '{expected.Name}' is {kept}; {MomentumInfo(expected)} was expected.");
        }

        foreach (TensorInfo extra in local.Tensors.Where(tensor => global.Find(tensor.Name) is null))
            throw new InvalidModelException($"'{local.Location}': tensor '{extra.Name}' of {extra} is not in the global model '{global.Location}'.");
    }
}
