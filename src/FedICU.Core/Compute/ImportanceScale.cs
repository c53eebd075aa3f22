namespace FedICU.Compute;

/// <summary>The center and spread of a tensor's magnitudes: z = (|x| - Center) / Spread.</summary>
/// <param name="Center">The mean, or the minimum.</param>
/// <param name="Spread">The sample standard deviation, or maximum - minimum. Infinity makes every z zero.</param>
public readonly record struct ImportanceScale(double Center, double Spread);
