namespace FedICU;

/// <summary>
/// Computes the privacy that noise gives: epsilon of rounds in which each client takes part with some probability, and
/// Gaussian noise is added to the sum of clipped updates.
/// </summary>
/// <remarks>
/// Rényi differential privacy of the sampled Gaussian mechanism (Mironov, Talwar, Zhang 2019; Poisson sampling, add or
/// remove one client); from it epsilon by Canonne, Kamath, Steinke 2020. The true epsilon is lower.
/// </remarks>
public static class PrivacyAccountant
{
    // the places of the trapezoid rule per standard deviation, and its ends beyond the densities; more change no digit
    private const double StepsPerDeviation = 32, Tail = 40;

    // The least noise multiplier for which the integral is taken: a smaller one needs too many places. The logarithm of
    // the moment is convex in the order, so a straight line between whole orders is above it (chosen).
    private const double LeastIntegrated = 0.01;

    /// <summary>Gets the orders a of the account: 1.1, 1.2 .. 10.9, 11 .. 63, 128, 256, 512, 1024.</summary>
    public static IReadOnlyList<double> Orders { get; } =
    [
        .. Enumerable.Range(11, 99).Select(tenths => tenths / 10.0), .. Enumerable.Range(11, 53).Select(order => (double)order),
        128, 256, 512, 1024,
    ];

    /// <summary>Computes epsilon.</summary>
    /// <param name="samplingRate">The probability q with which a client takes part in a round, in [0, 1].</param>
    /// <param name="noiseMultiplier">z, the noise's standard deviation over the clip norm, greater than 0.</param>
    /// <param name="rounds">The number of rounds, at least 0.</param>
    /// <param name="delta">delta, in (0, 1).</param>
    /// <param name="orders">The orders of the account, each greater than 1; null: <see cref="Orders"/>.</param>
    /// <returns>Epsilon, and the order at which it is least.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range.</exception>
    public static (double Epsilon, double Order) ComputeEpsilon(
        double samplingRate, double noiseMultiplier, long rounds, double delta, IReadOnlyList<double>? orders = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rounds);
        if (!(delta is > 0 and < 1))
            throw new ArgumentOutOfRangeException(nameof(delta), delta, "a number above 0 and below 1 was expected");
        (double epsilon, double best) = (double.PositiveInfinity, 0);
        foreach (double order in orders ?? Orders)
        {
            double rdp = rounds * ComputeRdp(samplingRate, noiseMultiplier, order);
            double found = Math.Max(0, rdp + Math.Log(1 - 1 / order) - Math.Log(delta * order) / (order - 1));
            if (found < epsilon)
                (epsilon, best) = (found, order);
        }

        return (epsilon, best);
    }

    /// <summary>Computes the Rényi divergence of one round at an order.</summary>
    /// <param name="samplingRate">q, in [0, 1].</param>
    /// <param name="noiseMultiplier">z, greater than 0.</param>
    /// <param name="order">a, greater than 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range.</exception>
    public static double ComputeRdp(double samplingRate, double noiseMultiplier, double order)
    {
        if (!(samplingRate is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(samplingRate), samplingRate, "a number from 0 to 1 was expected");
        if (!(noiseMultiplier > 0 && double.IsFinite(noiseMultiplier)))
            throw new ArgumentOutOfRangeException(nameof(noiseMultiplier), noiseMultiplier, "a finite number above 0 was expected");
        if (!(order > 1 && double.IsFinite(order)))
            throw new ArgumentOutOfRangeException(nameof(order), order, "a finite number above 1 was expected");
        if (samplingRate == 0)
            return 0;
        double variance = noiseMultiplier * noiseMultiplier;
        if (samplingRate == 1)
            return order / (2 * variance);
        double below = Math.Floor(order);
        if (order == below)
            return Math.Max(0, SumMoments(samplingRate, variance, (int)order) / (order - 1));
        double logMoment = noiseMultiplier >= LeastIntegrated
            ? IntegrateMoments(samplingRate, noiseMultiplier, order)
            : (below + 1 - order) * (below == 1 ? 0 : SumMoments(samplingRate, variance, (int)below))
                + (order - below) * SumMoments(samplingRate, variance, (int)below + 1);
        return Math.Max(0, logMoment / (order - 1));
    }

    /// <summary>
    /// Computes log sum_i binom(a, i) (1 - q)^(a - i) q^i exp((i^2 - i) / (2 s^2)). With 1 in place of the exponentials
    /// the sum is 1: what they add keeps the digits of small values.
    /// </summary>
    private static double SumMoments(double q, double variance, int order)
    {
        double[] logs = new double[order - 1];
        double logBinomial = Math.Log(order);
        for (int i = 2; i <= order; i++)
        {
            logBinomial += Math.Log((order - i + 1.0) / i);
            double exponent = ((double)i * i - i) / (2 * variance);
            logs[i - 2] = logBinomial + (order - i) * Log1P(-q) + i * Math.Log(q) + (exponent > 40 ? exponent : Math.Log(ExpM1(exponent)));
        }

        double largest = logs.Max(), sum = 0;
        foreach (double log in logs)
            sum += Math.Exp(log - largest);
        double added = largest + Math.Log(sum);
        return added > 0 ? added + Log1P(Math.Exp(-added)) : Log1P(Math.Exp(added));
    }

    /// <summary>
    /// Computes log E g^a, g = 1 - q + q exp((2 z - 1) / (2 s^2)), z ~ N(0, s^2). E g is 1: E(g^a - 1 - a (g - 1))
    /// keeps the digits of small values.
    /// </summary>
    private static double IntegrateMoments(double q, double deviation, double order)
    {
        double variance = deviation * deviation, step = deviation / StepsPerDeviation;
        double from = -Tail * deviation, to = order + Tail * deviation, largest = double.NegativeInfinity;
        long count = (long)Math.Ceiling((to - from) / step);
        // the exponents may exceed float64's range: the largest is taken out
        for (int pass = 0; ; pass++)
        {
            double sum = 0, error = 0;
            for (long i = 0; i <= count; i++)
            {
                double z = from + i * step, exponent = (2 * z - 1) / (2 * variance), density = -z * z / (2 * variance);
                double logG = LogMix(q, exponent);
                double logPower = order * logG + density;
                if (pass == 0)
                {
                    largest = Math.Max(largest, logPower);
                    continue;
                }

                // g^a - 1 - a (g - 1), by expm1 where g is near 1
                double term = largest > 30
                    ? Math.Exp(logPower - largest)
                    : (ExpM1(order * logG) - order * ExpM1(logG)) * Math.Exp(density);
                double next = sum + (term - error);
                error = next - sum - (term - error);
                sum = next;
            }

            if (pass == 0)
                continue;
            double scale = step / (deviation * Math.Sqrt(2 * Math.PI));
            return largest > 30 ? largest + Math.Log(sum * scale) : Log1P(sum * scale);
        }
    }

    /// <summary>Computes log(1 - q + q exp(x)).</summary>
    private static double LogMix(double q, double x) => x > 1
        ? x + Math.Log(q) + Log1P((1 - q) / q * Math.Exp(-x))
        : Log1P(q * ExpM1(x));

    /// <summary>Computes log(1 + x) with the digits of small x (Kahan).</summary>
    private static double Log1P(double x)
    {
        double u = 1 + x;
        return u == 1 ? x : Math.Log(u) * x / (u - 1);
    }

    /// <summary>Computes exp(x) - 1 with the digits of small x (Kahan).</summary>
    private static double ExpM1(double x)
    {
        if (Math.Abs(x) > 0.5)
            return Math.Exp(x) - 1;
        double u = Math.Exp(x);
        if (u == 1)
            return x;
        return u - 1 == -1 ? -1 : (u - 1) * x / Math.Log(u);
    }
}
