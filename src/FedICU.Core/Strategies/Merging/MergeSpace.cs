namespace FedICU;

/// <summary>What a merging rule adds up for LoRA pairs (<c>space</c>).</summary>
public enum MergeSpace
{
    /// <summary>The factors A and B, as any other tensors.</summary>
    Factors,

    /// <summary>The products s B A, as stacked factors: exact, of the sum of the ranks.</summary>
    Product,
}
