using System.Numerics.Tensors;

namespace FedICU;

/// <summary>
/// FedAvgM's step of the server: m = beta m + D, x = x + eta m, with m = D in the first round. D is the merged update.
/// </summary>
/// <remarks>
/// Hsu, Qi, Brown: "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
/// 2019.
/// </remarks>
public sealed class FedAvgM : ServerStep
{
    /// <summary>Creates the step.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedAvgM(FedAvgMOptions? options = null)
    {
        Options = options ?? new FedAvgMOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public FedAvgMOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedavgm";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State { get; } = [new StateSlot("m")];

    /// <inheritdoc/>
    public override void Apply(ElementBlock block)
    {
        Span<double> d = block.Update, m = block.State(0);
        double added = Options.Form == MomentumForm.Sum ? 1 : 1 - Options.Momentum;
        if (block.Plan.RoundsFinished == 0)
        {
            d.CopyTo(m);
        }
        else
        {
            TensorPrimitives.Multiply(m, Options.Momentum, m);
            TensorPrimitives.FusedMultiplyAdd(d, added, m, m);
        }

        if (Options.Nesterov)
        {
            TensorPrimitives.FusedMultiplyAdd(m, Options.Momentum, d, d);
            TensorPrimitives.Multiply(d, Options.ServerLearningRate, d);
        }
        else
        {
            TensorPrimitives.Multiply(m, Options.ServerLearningRate, d);
        }
    }
}
