using System.Collections;

namespace FedICU;

/// <summary>A round to aggregate: the global model before it, the clients' updates and the round's options.</summary>
public sealed class AggregationRound : IEnumerable<ClientUpdate>
{
    private readonly List<ClientUpdate> _updates = [];

    /// <summary>Creates a round with the default options.</summary>
    /// <param name="global">The model that was sent to the clients; borrowed.</param>
    public AggregationRound(TensorSource global) : this(global, new RoundOptions())
    {
    }

    /// <summary>Creates a round.</summary>
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

    /// <summary>
    /// Where the rule's state is kept between rounds; borrowed. <value>Default: null, nowhere: rules that keep a state
    /// then run a first round.</value>
    /// </summary>
    public RoundState? State { get; set; }

    /// <summary>
    /// The global model's digest if it is known already; null: it is computed when an update states its base.
    /// </summary>
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
