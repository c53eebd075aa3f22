namespace FedICU;

/// <summary>How clients weigh in HetLoRA (<c>norm-weights</c>).</summary>
public enum HetLoraWeights
{
    /// <summary>By the norms of their products s_k B_k A_k: the default.</summary>
    Frobenius,
    /// <summary>By their numbers of examples.</summary>
    Share,
    /// <summary>All the same.</summary>
    Uniform,
}
