namespace FedICU.Compute;

/// <summary>How many magnitudes are where in a <see cref="MagnitudeBracket"/>.</summary>
internal struct BracketCounts
{
    /// <summary>Those above the lower end, those of them below the upper end, and those equal to the lower end.</summary>
    public long OverLow, Inside, AtLow;

    /// <summary>Adds other counts.</summary>
    public void Add(in BracketCounts other)
    {
        OverLow += other.OverLow;
        Inside += other.Inside;
        AtLow += other.AtLow;
    }
}
