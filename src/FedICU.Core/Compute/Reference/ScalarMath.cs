namespace FedICU.Compute.Reference;

/// <summary>Formulas of single elements that every backend computes with the same scalar code, and the checks every backend makes.</summary>
internal static class ScalarMath
{
    /// <summary>A tie of two z-scores, relative to 1 + |z_g| (docs/algorithms.md, Ties).</summary>
    public const double Tie = 1e-12;

    /// <summary>1 / (1 + exp(-z)).</summary>
    public static double Sigmoid(double z) => 1 / (1 + Math.Exp(-z));

    /// <summary>Refuses a sum of no inputs and weights of another number.</summary>
    public static void CheckInputs(int inputs, int weights)
    {
        if (inputs == 0)
            throw new ArgumentException("A sum needs at least one input.", nameof(inputs));
        if (weights != inputs)
            throw new ArgumentException($"There are {inputs} inputs but {weights} weights.", nameof(weights));
    }

    /// <summary>Refuses fewer sums than inputs.</summary>
    public static void CheckSums(int inputs, int sums)
    {
        if (sums < inputs)
            throw new ArgumentException($"There are {inputs} inputs but room for {sums} sums.", nameof(sums));
    }
}
