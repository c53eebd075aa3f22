namespace FedICU.Compute;

/// <summary>Center and spread of a tensor's magnitudes: z = (|x| - Center) / Spread.</summary>
/// <param name="Center">Subtracted: the mean, or the minimum.</param>
/// <param name="Spread">Divides: the sample standard deviation, or maximum - minimum. Infinite makes every z zero.</param>
public readonly record struct ImportanceScale(double Center, double Spread);
