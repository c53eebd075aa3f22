namespace FedICU.Compute;

/// <summary>How many magnitudes are where in a <see cref="MagnitudeBracket"/>.</summary>
internal struct BracketCounts
{
    /// <summary>Those above the lower end, and those of them below the upper end.</summary>
    public long OverLow, Inside;

    /// <summary>Those equal to an end, if they are counted.</summary>
    public long AtLow, AtHigh;

    /// <summary>Those counted as equal to an end that may differ from it in float64.</summary>
    public long Inexact;

    /// <summary>Adds other counts.</summary>
    public void Add(in BracketCounts other)
    {
        OverLow += other.OverLow;
        Inside += other.Inside;
        AtLow += other.AtLow;
        AtHigh += other.AtHigh;
        Inexact += other.Inexact;
    }
}
