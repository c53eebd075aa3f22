using System.Numerics.Tensors;

namespace FedICU;

/// <summary>
/// The second part of <see cref="CenteredClip"/>: v = D + (what is left of the old v), x = x + eta v; v is kept for the
/// next round.
/// </summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class CenteredClipStep(CenteredClipOptions? options = null) : ServerStep
{
    private readonly double _rate = (options ?? new CenteredClipOptions()).ServerLearningRate;

    /// <inheritdoc/>
    public override string Name => "centered-clip.step";

    internal override bool IsPart => true;

    internal override string RuleName => "centered-clip";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State { get; } = [new StateSlot(CenteredClip.Slot)];

    /// <inheritdoc/>
    public override void Apply(ElementBlock block)
    {
        Span<double> center = block.State(0);
        TensorPrimitives.MultiplyAdd(center, block.Plan.GetKept(CenteredClip.Rest)[0], block.Update, center);
        TensorPrimitives.Multiply(center, _rate, block.Update);
    }
}
