namespace FedICU.TestChild;

/// <summary>The range of the values of a sample.</summary>
public enum Spread
{
    /// <summary>Magnitudes from 2^-6 to 2^6.</summary>
    Tame,

    /// <summary>
    /// All bit patterns, often NaN, infinities, zeros and subnormals. Magnitudes of float64 stay within 2^-200 to
    /// 2^200, so that products are finite.
    /// </summary>
    Wild,

    /// <summary>As <see cref="Wild"/>, but with any float64 value.</summary>
    Extreme,
}
