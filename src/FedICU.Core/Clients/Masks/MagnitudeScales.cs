using FedICU.Compute;

namespace FedICU.Clients.Masks;

/// <summary>
/// What the first pass measures of a tensor's magnitudes |u| (the update's) and |g| (the received model's).
/// </summary>
/// <param name="Update">The center and spread of |u|.</param>
/// <param name="Global">The center and spread of |g|.</param>
/// <param name="UpdateIsConstant">
/// Whether all |u| are equal. They then say nothing about importance: all entries are sent unchanged, or none if all
/// are 0.
/// </param>
/// <param name="UpdateIsZero">Whether every u is 0.</param>
internal sealed record MagnitudeScales(ImportanceScale Update, ImportanceScale Global, bool UpdateIsConstant, bool UpdateIsZero)
{
    /// <summary>Gets the scale whose z is the magnitude itself.</summary>
    public static ImportanceScale Identity => new(0, 1);
}
