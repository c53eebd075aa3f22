using System.Numerics.Tensors;
using FedICU;

namespace OwnStrategy;

/// <summary>
/// A step of the server with a state: m = beta m + D, x = x + lr m, where D is the merged update. The momentum m is
/// kept from round to round.
/// </summary>
public sealed class HeavyBall : ServerStep
{
    private readonly double _rate, _beta;

    public HeavyBall(double rate, double beta)
    {
        List<string> errors = [];
        if (!(rate > 0 && double.IsFinite(rate)))
            errors.Add($"lr is {rate}; a finite number above 0 was expected.");
        if (beta is not (>= 0 and < 1))
            errors.Add($"beta is {beta}; a number of at least 0 and below 1 was expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
        (_rate, _beta) = (rate, beta);
    }

    public override string Name => "heavy-ball";

    public override IReadOnlyList<StateSlot> State => [new StateSlot("m")];

    public override void Apply(ElementBlock block)
    {
        Span<double> update = block.Update, momentum = block.State(0);
        TensorPrimitives.MultiplyAdd(momentum, _beta, update, momentum);
        TensorPrimitives.Multiply(momentum, _rate, update);
    }
}
