namespace FedICU.Panels;

/// <summary>
/// The largest magnitudes of an update: those above a value, and those equal to it in a range of flat indices.
/// </summary>
/// <param name="Value">The smallest of them.</param>
/// <param name="First">The first index of an equal magnitude that belongs to them.</param>
/// <param name="Last">The last such index.</param>
internal readonly record struct MagnitudeCut(double Value, long First, long Last)
{
    /// <summary>All magnitudes that are at least the value.</summary>
    public static MagnitudeCut From(double value) => new(value, 0, long.MaxValue);
}
