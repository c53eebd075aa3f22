namespace FedICU;

/// <summary>How the magnitudes |x| of a tensor become importances.</summary>
public enum ImportanceRule
{
    /// <summary>
    /// sigmoid((|x| - mean|x|) / std|x|) with the sample standard deviation; 0 if std|x| is 0. The default, after
    /// SPIDER (ICML 2025).
    /// </summary>
    ZScore,
    /// <summary>(|x| - min|x|) / (max|x| - min|x|); 0 if all |x| are equal.</summary>
    MinMax,
    /// <summary>The average rank of |x| divided by the number of elements.</summary>
    Rank,
}
