namespace FedICU.Compute.Reference;

/// <summary>
/// The formulas of single elements that every backend computes with the same scalar code, and the checks of arguments.
/// </summary>
internal static unsafe class ScalarMath
{
    /// <summary>
    /// The largest difference of two z-scores that is a tie, relative to 1 + |z_g|. Chosen (docs/algorithms.md, Ties).
    /// </summary>
    public const double Tie = 1e-12;

    /// <summary>Computes 1 / (1 + exp(-z)).</summary>
    public static double Sigmoid(double z) => 1 / (1 + Math.Exp(-z));

    /// <summary>Throws if there are no inputs, or if the number of weights differs.</summary>
    public static void CheckInputs(int inputs, int weights)
    {
        if (inputs == 0)
            throw new ArgumentException("A sum needs at least one input.", nameof(inputs));
        if (weights != inputs)
            throw new ArgumentException($"There are {inputs} inputs but {weights} weights.", nameof(weights));
    }

    /// <summary>Throws if there are no inputs, or if trimming leaves none.</summary>
    public static void CheckTrim(int inputs, int trim)
    {
        CheckInputs(inputs, inputs);
        int most = (inputs - 1) / 2;
        if (trim < 0 || trim > most)
            throw new ArgumentOutOfRangeException(nameof(trim), trim, $"Of {inputs} values, 0 to {most} can be trimmed at each end.");
    }

    /// <summary>Throws if there are fewer sums than inputs.</summary>
    public static void CheckSums(int inputs, int sums)
    {
        if (sums < inputs)
            throw new ArgumentException($"There are {inputs} inputs but room for {sums} sums.", nameof(sums));
    }

    /// <summary>Throws if there are fewer sums than pairs of inputs.</summary>
    public static void CheckPairSums(int inputs, int sums)
    {
        long pairs = inputs * (inputs - 1L) / 2;
        if (sums < pairs)
            throw new ArgumentException($"There are {pairs} pairs of inputs but room for {sums} sums.", nameof(sums));
    }

    /// <summary>Throws if there are fewer sums than inputs; products are needed only with a direction.</summary>
    public static void CheckDistanceSums(int inputs, TensorPanel direction, int squares, int products)
    {
        CheckSums(inputs, squares);
        if (direction.Data != null)
            CheckSums(inputs, products);
    }
}
