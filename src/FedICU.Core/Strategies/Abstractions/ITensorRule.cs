namespace FedICU;

/// <summary>How one tensor of a round is made.</summary>
public interface ITensorRule
{
    /// <summary>
    /// Whether <see cref="Aggregate"/> may be called for several tensors at once, which small tensors gain by. <value>Default: false, one tensor after
    /// the other in the order of the global model.</value>
    /// </summary>
    bool IsThreadSafe => false;

    /// <summary>Makes the output of one tensor by calling one of the context's writing verbs.</summary>
    /// <param name="tensor">The tensor: computed types only; integers and exotic types are the round's.</param>
    void Aggregate(TensorContext tensor);
}
