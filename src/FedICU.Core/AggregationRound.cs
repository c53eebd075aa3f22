using System.Collections;
using FedICU.Compute;

namespace FedICU;

/// <summary>A round to be aggregated: the model before it, the clients' updates, and how faults are treated.</summary>
public sealed class AggregationRound : IEnumerable<ClientUpdate>
{
    private readonly List<ClientUpdate> _updates = [];

    /// <summary>Begins a round over the global model.</summary>
    /// <param name="global">The model that was sent to the clients; borrowed.</param>
    public AggregationRound(TensorSource global) : this(global, new RoundOptions())
    {
    }

    /// <summary>Begins a round over the global model.</summary>
    /// <param name="global">The model that was sent to the clients; borrowed.</param>
    /// <param name="options">How the round is run and how faults are treated.</param>
    public AggregationRound(TensorSource global, RoundOptions options)
    {
        ArgumentNullException.ThrowIfNull(global);
        ArgumentNullException.ThrowIfNull(options);
        (Global, Options) = (global, options);
    }

    /// <summary>The model before the round.</summary>
    public TensorSource Global { get; }

    /// <summary>How the round is run and how faults are treated.</summary>
    public RoundOptions Options { get; init; }

    /// <summary>The global model's digest where it is known already; null: computed when an update states its base.</summary>
    internal string? GlobalDigest { get; init; }

    /// <summary>The updates in the order they were added; the order has no effect on the result.</summary>
    public IReadOnlyList<ClientUpdate> Updates => _updates;

    /// <summary>Adds a client's update.</summary>
    public void Add(ClientUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        _updates.Add(update);
    }

    /// <summary>The updates in the order they were added.</summary>
    public IEnumerator<ClientUpdate> GetEnumerator() => _updates.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>What happens where an update has a fault.</summary>
public enum FaultPolicy
{
    /// <summary>The round is refused: the default.</summary>
    Reject,
    /// <summary>The client is left out of the whole round, and the report says why.</summary>
    DropClient,
    /// <summary>The tensor keeps the global model's value, and the report says why.</summary>
    DropTensor,
}

/// <summary>How integer tensors are aggregated.</summary>
public enum IntegerRule
{
    /// <summary>The weighted mean, exact, halves to even: the default.</summary>
    Mean,
    /// <summary>The global model's value is kept.</summary>
    Keep,
}

/// <summary>How a round is run: what is done about faults, on what it is computed, what is reported.</summary>
public sealed record RoundOptions
{
    /// <summary>The least number of clients that must remain after faulty ones were dropped. <value>Default: null, all that were added.</value></summary>
    public int? Quorum { get; init; }

    /// <summary>NaN or infinite values in an update (<c>on-nonfinite</c>). <value>Default: <see cref="FaultPolicy.Reject"/>.</value></summary>
    public FaultPolicy OnNonFinite { get; init; }

    /// <summary>A tensor of the global model that the update lacks (<c>on-missing</c>). <value>Default: <see cref="FaultPolicy.Reject"/>.</value></summary>
    public FaultPolicy OnMissing { get; init; }

    /// <summary>A tensor that the global model lacks (<c>on-extra</c>); drop-tensor ignores it. <value>Default: <see cref="FaultPolicy.Reject"/>.</value></summary>
    public FaultPolicy OnExtra { get; init; }

    /// <summary>Another shape (<c>on-shape</c>). <value>Default: <see cref="FaultPolicy.Reject"/>.</value></summary>
    public FaultPolicy OnShape { get; init; }

    /// <summary>
    /// An integer type against a float type, or two integer types (<c>on-dtype</c>); float types may differ. <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnDType { get; init; }

    /// <summary>
    /// An update made against another model than the round's global (<c>on-base</c>); drop-tensor is refused for it.
    /// <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnBase { get; init; }

    /// <summary>
    /// An update that cannot be opened or read: no such file, malformed, truncated (<c>on-unreadable</c>); drop-tensor is refused for it.
    /// <value>Default: <see cref="FaultPolicy.Reject"/>.</value>
    /// </summary>
    public FaultPolicy OnUnreadable { get; init; }

    /// <summary>How integer tensors are aggregated (<c>integers</c>). <value>Default: <see cref="IntegerRule.Mean"/>.</value></summary>
    public IntegerRule Integers { get; init; }

    /// <summary>
    /// Whether LoRA's factors are written as others of the same product B A, which share its singular values: norm(B[:,j])^2 = norm(A[j,:])^2 = s_j, in descending order (<c>balance</c>). Factors averaged
    /// apart depend on how clients share the product between them; so all start a round from the same sharing (docs/algorithms.md, LoRA adapters). The factors stay in memory until the end.
    /// <value>Default: false.</value>
    /// </summary>
    public bool BalanceLora { get; init; }

    /// <summary>The type of the output's computed tensors. <value>Default: null, the global model's.</value></summary>
    public DType? OutputDType { get; init; }

    /// <summary>What computes. <value>Default: null, SIMD.</value></summary>
    public IComputeBackend? Backend { get; init; }

    /// <summary>How many threads compute; no effect on the result. <value>Default: 0, one for each processor.</value></summary>
    public int Threads { get; init; }

    /// <summary>Whether norms, cosines and LoRA cross-terms are computed for the report, at the price of further looks at the inputs. <value>Default: false.</value></summary>
    public bool Statistics { get; init; }

    /// <summary>The number of the round, kept in the output's metadata. <value>Default: null, unknown.</value></summary>
    public long? Round { get; init; }

    /// <summary>
    /// Told after each tensor and, inside large ones, at most every hundredth; one call at a time. Small tensors may end out of the model's order.
    /// <value>Default: null.</value>
    /// </summary>
    public IProgress<RoundProgress>? Progress { get; init; }

    internal void Validate()
    {
        var errors = new List<string>();
        if (Quorum is < 1)
            errors.Add($"quorum is {Quorum}; at least 1 was expected.");
        if (Threads < 0)
            errors.Add($"threads is {Threads}; 0 (one for each processor) or more was expected.");
        if (OnBase == FaultPolicy.DropTensor)
            errors.Add("on-base is drop-tensor; a wrong base concerns the whole update: reject or drop-client was expected.");
        if (OnUnreadable == FaultPolicy.DropTensor)
            errors.Add("on-unreadable is drop-tensor; a file concerns the whole update: reject or drop-client was expected.");
        if (OutputDType is { IsComputed: false } dtype)
            errors.Add($"The output's type is {dtype.SafetensorsName}; F64, F32, F16 or BF16 was expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }
}

/// <summary>How far a round has come.</summary>
/// <param name="Phase">
/// What is being done: <c>check</c>, where the global model's digest is computed; <c>prepare</c>, where a strategy looks at all tensors first; <c>aggregate</c>.
/// A round that starts over without a dropped client begins the last two again. By a client: <c>select</c>, <c>write</c>.
/// </param>
/// <param name="Tensor">The tensor under way or just finished.</param>
/// <param name="BytesDone">Bytes of the global model's tensors done in this phase, an estimate inside a tensor that is looked at several times; never less than before.</param>
/// <param name="BytesTotal">Bytes that the phase goes through: each tensor as often as the phase goes over the model.</param>
public readonly record struct RoundProgress(string Phase, string Tensor, long BytesDone, long BytesTotal);
