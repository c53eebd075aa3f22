namespace FedICU;

/// <summary>Computes the output of one tensor of a round.</summary>
public interface ITensorRule
{
    /// <summary>
    /// Gets whether <see cref="Aggregate"/> may be called for several tensors at once, which makes small tensors
    /// faster.
    /// <value>Default: false. Tensors are then computed one after the other in the global model's order.</value>
    /// </summary>
    bool IsThreadSafe => false;

    /// <summary>Computes the output of one tensor by calling one of the context's verbs that write it.</summary>
    /// <param name="tensor">
    /// A tensor of a computed type (F64, F32, F16 or BF16). The round itself handles tensors of all other types.
    /// </param>
    void Aggregate(TensorContext tensor);
}
