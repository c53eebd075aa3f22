using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Panels;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>
/// DARE's merge: of each client's update a random share of the entries stays and is rescaled; what is left is added up,
/// or merged as in TIES.
/// </summary>
/// <remarks>
/// Yu, Yu, Yu, Huang, Li: "Language Models are Super Mario", ICML 2024. Whether an entry stays depends only on the
/// seed, the tensor, the client's place in the ordinal order of the ids, and the entry's index.
/// </remarks>
public sealed class Dare : MergeRule
{
    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Dare(DareOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Options = options;
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public DareOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "dare";

    internal override string? OwnWeighting => MergeWeights.DescribeOwn(Options.Weighting);

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        double[] weights = MergeWeights.Get(tensor, Options.Weighting);
        UniformNumbers[] numbers =
            [.. weights.Select((_, k) => new UniformNumbers(new Philox(Options.Seed!.Value, tensor.Info.Name, "dare", k)))];
        double[] factors = FindFactors(tensor, numbers);
        if (Options.Merge == DareMerge.Linear)
        {
            tensor.AddMasked(numbers, Options.Density, [.. weights.Zip(factors, (weight, factor) => weight * factor * Options.Scale)]);
            return;
        }

        SignElection election = Elections.Create(Options.Elect, Options.ElectWeights, Options.Disjoint, Options.Scale);
        tensor.ElectSigns(weights, election, new MaskedUpdates(numbers, Options.Density, factors));
    }

    /// <summary>Returns the factor of what is left of each client's update.</summary>
    private double[] FindFactors(TensorContext tensor, UniformNumbers[] numbers)
    {
        double[] factors = new double[numbers.Length];
        Array.Fill(factors, Options.Rescale == DareRescale.Density ? 1 / Options.Density : 1);
        if (Options.Rescale != DareRescale.L1)
            return factors;
        // the L1 norms of all updates, then of what is left of them
        double[] norms = new double[2 * numbers.Length];
        var masked = new MaskedUpdates(numbers, Options.Density, factors);
        tensor.AddFromBlocks(UpdateForm.Delta, norms, (block, sums) =>
        {
            for (int k = 0; k < numbers.Length; k++)
            {
                sums[k] += TensorPrimitives.SumOfMagnitudes<double>(block[k]);
                masked.Apply(k, block.Start, block[k]);
                sums[numbers.Length + k] += TensorPrimitives.SumOfMagnitudes<double>(block[k]);
            }
        });
        for (int k = 0; k < factors.Length; k++)
            factors[k] = norms[factors.Length + k] == 0 ? 0 : norms[k] / norms[factors.Length + k];
        return factors;
    }
}
