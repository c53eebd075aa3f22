namespace FedICU;

/// <summary>
/// A stage that changes each client's update element by element before the merge: trimming small entries, dropping
/// entries at random.
/// </summary>
public abstract class UpdateTransform : Stage
{
    /// <summary>Computes the numbers that <see cref="Apply"/> needs for one tensor, such as thresholds.</summary>
    /// <param name="tensor">The tensor, whose output must not be written.</param>
    /// <returns>One array for each client, or null if none is needed.</returns>
    public virtual double[][]? Prepare(TensorContext tensor) => null;

    /// <summary>Changes the elements of one client's update, in place. Called by several threads at once.</summary>
    /// <param name="block">Consecutive elements of one client's update d_k = y_k - x.</param>
    public abstract void Apply(UpdateBlock block);
}
