using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>
/// Numbers of the whole model that a stage needs before it begins, such as norms or distances: sums over the model's
/// tensors, added in the model's order. So they can be measured in parts, on several machines, with the same bits.
/// </summary>
public abstract class RoundStatistic
{
    /// <summary>
    /// Gets the squared distance of each pair of clients j &lt; k: sum over all elements of (y_j - y_k)^2, in direct
    /// differences. <see cref="RoundPlan.SquaredDistance"/> reads them.
    /// </summary>
    public static RoundStatistic PairDistances { get; } = new PairDistances();

    /// <summary>Gets the squared norm of each client's update: sum over all elements of (y_k - x)^2.</summary>
    public static RoundStatistic SquaredNorms { get; } = new SquaredNorms();

    /// <summary>Gets the name, unique among the statistics of a round.</summary>
    public abstract string Name { get; }

    /// <summary>
    /// Gets the statistics that must be measured before this one. <value>Default: none.</value>
    /// </summary>
    public virtual IReadOnlyList<RoundStatistic> After => [];

    /// <summary>Gets whether a tensor has a part in the sums. <value>Default: true.</value></summary>
    /// <param name="tensor">The tensor in the global model.</param>
    public virtual bool Measures(TensorInfo tensor) => true;

    /// <summary>Returns the number of sums.</summary>
    /// <param name="clients">The number of clients.</param>
    public abstract int Count(int clients);

    /// <summary>Adds one tensor's part to the sums. Called for several tensors at once.</summary>
    /// <param name="tensor">The tensor, whose output must not be written.</param>
    /// <param name="sums">The sums of this tensor, 0 at first; finite numbers are expected.</param>
    public abstract void Measure(TensorContext tensor, Span<double> sums);

    /// <summary>Returns the statistics that this one follows, and this one after them.</summary>
    internal IEnumerable<RoundStatistic> WithThoseBefore() => After.SelectMany(before => before.WithThoseBefore()).Append(this);
}
