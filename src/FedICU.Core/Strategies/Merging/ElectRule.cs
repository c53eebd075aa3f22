namespace FedICU;

/// <summary>What decides the sign of an element.</summary>
public enum ElectRule
{
    /// <summary>The sign of the sum of the updates: the default.</summary>
    Sum,
    /// <summary>The sign that more updates have.</summary>
    Count,
}
