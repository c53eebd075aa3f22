using System.Numerics.Tensors;

namespace FedICU;

/// <summary>
/// Keeps the exponential moving average of the models: E = decay E + (1-decay) M, with E = M in the first round. M =
/// x + D is the merged model.
/// </summary>
public sealed class Ema : ServerStep
{
    /// <summary>Creates the step.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Ema(EmaOptions? options = null)
    {
        Options = options ?? new EmaOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public EmaOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "ema";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State { get; } = [new StateSlot("ema")];

    /// <inheritdoc/>
    public override void Apply(ElementBlock block)
    {
        Span<double> average = block.State(0), update = block.Update;
        if (block.Plan.RoundsFinished == 0)
        {
            TensorPrimitives.Add(block.Global, update, average);
        }
        else
        {
            TensorPrimitives.Multiply(average, Options.Decay, average);
            TensorPrimitives.FusedMultiplyAdd(block.Global, 1 - Options.Decay, average, average);
            TensorPrimitives.FusedMultiplyAdd(update, 1 - Options.Decay, average, average);
        }

        if (Options.Output == EmaOutput.Ema)
            TensorPrimitives.Subtract(average, block.Global, update);
    }
}
