namespace FedICU.Compute;

/// <summary>How many magnitudes are where in a <see cref="MagnitudeBracket"/>.</summary>
internal struct BracketCounts
{
    /// <summary>Those above the range, equal to its ends, and between the ends.</summary>
    public long Above, AtHigh, Inside, AtLow;

    /// <summary>Adds other counts.</summary>
    public void Add(in BracketCounts other)
    {
        Above += other.Above;
        AtHigh += other.AtHigh;
        Inside += other.Inside;
        AtLow += other.AtLow;
    }
}
