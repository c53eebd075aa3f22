namespace FedICU;

/// <summary>How magnitudes become importances.</summary>
public enum ImportanceRule
{
    /// <summary>sigmoid((|x| - mean|x|) / std|x|) per tensor, sample std; std = 0 gives 0: the default.</summary>
    ZScore,
    /// <summary>(|x| - min|x|) / (max|x| - min|x|); 0 where all are equal.</summary>
    MinMax,
    /// <summary>The average rank of |x| over the number of elements.</summary>
    Rank,
}
