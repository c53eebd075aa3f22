using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>Task arithmetic's merge: x = x + lambda sum_k w_k d_k.</summary>
/// <remarks>
/// Ilharco et al.: "Editing Models with Task Arithmetic", ICLR 2023. With shares and a scale of 1 it is FedAvg, with
/// its bits.
/// </remarks>
public sealed class TaskArithmetic : MergeRule
{
    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public TaskArithmetic(TaskArithmeticOptions? options = null)
    {
        Options = options ?? new TaskArithmeticOptions();
        Options.Validate(MergeSpace.Factors);
    }

    /// <summary>Gets the options.</summary>
    public TaskArithmeticOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "task-arithmetic";

    internal override string? OwnWeighting => MergeWeights.DescribeOwn(Options.Weighting);

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        Add(tensor, Options);
    }

    /// <summary>Creates the merge of the factors, or of the products of LoRA pairs.</summary>
    internal static MergeRule Create(TaskArithmeticOptions? options) =>
        options?.Space == MergeSpace.Product ? new ProductArithmetic(options) : new TaskArithmetic(options);

    internal static void Add(TensorContext tensor, TaskArithmeticOptions options)
    {
        if (options.Weighting == MergeWeighting.Share && options.Scale == 1)
        {
            tensor.WeightedMean();
            return;
        }

        double[] weights = MergeWeights.Get(tensor, options.Weighting);
        for (int k = 0; k < weights.Length; k++)
            weights[k] *= options.Scale;
        tensor.AddUpdates(weights);
    }
}
