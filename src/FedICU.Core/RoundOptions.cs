using System.Globalization;
using FedICU.Compute;

namespace FedICU;

/// <summary>The options of a round: the policies for faults, the backend and threads, and the report.</summary>
public sealed record RoundOptions
{
    /// <summary>
    /// The number of clients that must remain after faulty ones were dropped. <value>Default: null, all clients whose
    /// weight is not 0.</value>
    /// </summary>
    public int? Quorum { get; init; }

    /// <summary>
    /// The policy for values of an update that are NaN, infinite or too large for the output's type
    /// (<c>on-nonfinite</c>). <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnNonFinite { get; init; }

    /// <summary>
    /// The policy for a tensor of the global model that the update lacks (<c>on-missing</c>). <value>Default:
    /// <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnMissing { get; init; }

    /// <summary>
    /// The policy for a tensor that the global model lacks (<c>on-extra</c>); drop-tensor ignores it. <value>Default:
    /// <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnExtra { get; init; }

    /// <summary>
    /// The policy for a tensor of another shape (<c>on-shape</c>). <value>Default:
    /// <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnShape { get; init; }

    /// <summary>
    /// The policy for an integer tensor that is a float tensor in the global model, or the other way round, and for
    /// another integer type (<c>on-dtype</c>); float types may differ. <value>Default:
    /// <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnDType { get; init; }

    /// <summary>
    /// The policy for an update that was made against another model than the round's global model (<c>on-base</c>);
    /// drop-tensor is not allowed. <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnBase { get; init; }

    /// <summary>
    /// The policy for an update that cannot be opened or read: missing, malformed or truncated (<c>on-unreadable</c>);
    /// drop-tensor is not allowed. <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnUnreadable { get; init; }

    /// <summary>
    /// The policy for a stated weight that is negative, infinite, not a number, or above <see cref="MaxWeight"/>
    /// (<c>on-weight</c>). It also applies if only some clients state a weight. Drop-tensor is not allowed.
    /// <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnWeight { get; init; }

    /// <summary>
    /// The policy for a client that does not state what the strategy needs, or states a value out of range
    /// (<c>on-statement</c>); drop-tensor is not allowed. <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnStatement { get; init; }

    /// <summary>
    /// The largest weight that a client may have (<c>max-weight</c>). <value>Default: 2^53, up to which float64 holds
    /// every count exactly.</value>
    /// </summary>
    public double MaxWeight { get; init; } = 1L << 53;

    /// <summary>
    /// The policy for an adapter configuration that disagrees with the others (<c>on-config</c>). <value>Default:
    /// <see cref="ConfigPolicy.Reject"/>.</value>
    /// </summary>
    public ConfigPolicy OnConfig { get; init; }

    /// <summary>
    /// The policy for quantized tensors, whose codes and scales cannot be averaged (<c>on-quantized</c>).
    /// <value>Default: <see cref="QuantizedPolicy.Reject"/>.</value>
    /// </summary>
    public QuantizedPolicy OnQuantized { get; init; }

    /// <summary>
    /// The policy for a client's file that another program changed while the round read it (<c>on-changed</c>);
    /// drop-tensor is not allowed. <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnChanged { get; init; }

    /// <summary>
    /// The policy for an update that states another round than <see cref="Round"/> (<c>on-stale</c>). <value>Default:
    /// <see cref="StalePolicy.Note"/>.</value>
    /// </summary>
    public StalePolicy OnStale { get; init; }

    /// <summary>
    /// Prefixes that wrappers add to the names of all tensors, such as <c>module.</c> and <c>_orig_mod.</c>
    /// (<c>strip-prefix</c>). Names are compared without them, and the output has the global model's names.
    /// <value>Default: none.</value>
    /// </summary>
    public IReadOnlyList<string> StripPrefixes { get; init; } = [];

    /// <summary>
    /// How integer tensors are aggregated (<c>integers</c>). <value>Default: <see cref="IntegerRule.Mean"/>.</value>
    /// </summary>
    public IntegerRule Integers { get; init; }

    /// <summary>The type of the output's computed tensors. <value>Default: null, the global model's.</value></summary>
    public DType? OutputDType { get; init; }

    /// <summary>The backend that computes. <value>Default: null, SIMD.</value></summary>
    public IComputeBackend? Backend { get; init; }

    /// <summary>
    /// The number of threads; it has no effect on the result. <value>Default: 0, one for each CPU.</value>
    /// </summary>
    public int Threads { get; init; }

    /// <summary>
    /// The largest number of clients for which <see cref="Statistics"/> include the cosine of each two clients' updates
    /// (<c>max-similarity-clients</c>); null: any number. The cost grows with its square. <value>Default: 64.</value>
    /// </summary>
    public int? MaxSimilarityClients { get; init; } = 64;

    /// <summary>
    /// Whether norms, cosines and LoRA cross-terms are computed for the report, which takes further passes over the
    /// inputs. <value>Default: false.</value>
    /// </summary>
    public bool Statistics { get; init; }

    /// <summary>
    /// The number of the round, stored in the output's metadata. <value>Default: null, unknown.</value>
    /// </summary>
    public long? Round { get; init; }

    /// <summary>
    /// Receives the round's progress: after each tensor and, within large tensors, at most after each percent. One call
    /// is made at a time. Small tensors may end out of the model's order. <value>Default: null.</value>
    /// </summary>
    public IProgress<RoundProgress>? Progress { get; init; }

    internal void Validate()
    {
        var errors = new List<string>();
        if (Quorum is < 1)
            errors.Add($"quorum is {Quorum}; at least 1 was expected.");
        if (Threads < 0)
            errors.Add($"threads is {Threads}; 0 (one for each CPU) or more was expected.");
        if (MaxSimilarityClients is < 1)
            errors.Add($"max-similarity-clients is {MaxSimilarityClients}; at least 1 (no similarities) was expected.");
        if (OnBase == FaultPolicy.DropTensor)
            errors.Add("on-base is drop-tensor; a wrong base concerns the whole update: reject or drop-client was expected.");
        if (OnUnreadable == FaultPolicy.DropTensor)
            errors.Add("on-unreadable is drop-tensor; a file concerns the whole update: reject or drop-client was expected.");
        if (OnWeight == FaultPolicy.DropTensor)
            errors.Add("on-weight is drop-tensor; a weight concerns the whole update: reject or drop-client was expected.");
        if (OnStatement == FaultPolicy.DropTensor)
            errors.Add("on-statement is drop-tensor; a statement concerns the whole update: reject or drop-client was expected.");
        if (OnChanged == FaultPolicy.DropTensor)
            errors.Add("on-changed is drop-tensor; a file concerns the whole update: reject or drop-client was expected.");
        if (!(MaxWeight > 0 && double.IsFinite(MaxWeight)))
            errors.Add(string.Create(CultureInfo.InvariantCulture, $"max-weight is {MaxWeight}; a finite number above 0 was expected."));
        if (StripPrefixes.Any(string.IsNullOrEmpty))
            errors.Add("strip-prefix holds an empty prefix; text such as 'module.' was expected.");
        if (OutputDType is { IsComputed: false } dtype)
            errors.Add($"The output's type is {dtype.SafetensorsName}; F64, F32, F16 or BF16 was expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }
}
