using System.Collections;

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

/// <summary>How far a round has come.</summary>
/// <param name="Phase">
/// What is being done: <c>check</c>, where the global model's digest is computed; <c>prepare</c>, where a strategy looks at all tensors first; <c>aggregate</c>.
/// A round that starts over without a dropped client begins the last two again. By a client: <c>select</c>, <c>write</c>.
/// </param>
/// <param name="Tensor">The tensor under way or just finished.</param>
/// <param name="BytesDone">Bytes of the global model's tensors done in this phase, an estimate inside a tensor that is looked at several times; never less than before.</param>
/// <param name="BytesTotal">Bytes that the phase goes through: each tensor as often as the phase goes over the model.</param>
public readonly record struct RoundProgress(string Phase, string Tensor, long BytesDone, long BytesTotal);
