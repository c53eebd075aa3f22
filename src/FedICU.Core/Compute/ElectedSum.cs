namespace FedICU.Compute;

/// <summary>The sum whose sign an element gets.</summary>
internal enum ElectedSum
{
    /// <summary>Of the weighted updates.</summary>
    Weighted,
    /// <summary>Of the updates.</summary>
    Plain,
    /// <summary>Of their signs.</summary>
    Count,
}
