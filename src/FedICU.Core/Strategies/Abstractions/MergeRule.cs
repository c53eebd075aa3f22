namespace FedICU;

/// <summary>
/// The stage that makes one tensor of all clients' tensors: a mean, a median, FedICU's split. A rule has exactly one
/// merge; without one it is the weighted mean.
/// </summary>
public abstract class MergeRule : Stage
{
    /// <summary>
    /// Gets whether <see cref="Merge"/> may be called for several tensors at once, which makes small tensors faster.
    /// <value>Default: true.</value> If false, tensors are merged one after the other in the global model's order.
    /// </summary>
    public virtual bool IsThreadSafe => true;

    /// <summary>
    /// Gets whether a client's tensor of this shape can be merged. It always has as many elements as the global
    /// model's.
    /// </summary>
    /// <param name="tensor">The tensor in the global model.</param>
    /// <param name="sent">The client's tensor.</param>
    /// <returns>By default whether the shapes are equal.</returns>
    public virtual bool Accepts(TensorInfo tensor, TensorInfo sent)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentNullException.ThrowIfNull(sent);
        return tensor.Shape == sent.Shape;
    }

    /// <summary>Decides the output of a tensor before anything is written.</summary>
    /// <param name="tensor">The tensor in the global model, of a float type.</param>
    /// <param name="plan">The round's plan.</param>
    /// <returns>
    /// By default the tensor itself. Another type or shape is allowed, of as many elements and the same name.
    /// </returns>
    public virtual TensorInfo GetOutput(TensorInfo tensor, RoundPlan plan) => tensor;

    /// <summary>Computes the output of one tensor by calling one of the context's verbs that write it.</summary>
    /// <param name="tensor">
    /// A tensor of F64, F32, F16 or BF16. The round itself handles tensors of all other types.
    /// </param>
    public abstract void Merge(TensorContext tensor);

    /// <summary>Gets whether the merge is sum_k w_k y_k / sum_k w_k of the weights that weightings decide.</summary>
    internal virtual bool IsMean => false;

    /// <summary>
    /// Gets the value of the option <c>weighting</c> if the merge weighs all clients the same, whatever weightings
    /// decide; otherwise null.
    /// </summary>
    internal virtual string? OwnWeighting => null;
}
