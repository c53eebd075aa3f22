namespace FedICU.Compute;

/// <summary>The k-th largest of many magnitudes.</summary>
/// <param name="Value">The magnitude.</param>
/// <param name="Above">The number of larger ones, fewer than k.</param>
/// <param name="Ties">The number of those that are equal to it.</param>
internal readonly record struct MagnitudeRank(double Value, long Above, long Ties);
