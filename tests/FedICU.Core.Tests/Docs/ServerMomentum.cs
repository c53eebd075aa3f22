using FedICU;

namespace MyFederation;

/// <summary>A momentum of the server: m = beta m + D, x = x + m. D is the merged update, x the global model.</summary>
/// <param name="beta">The decay of the momentum, in [0, 1).</param>
public sealed class ServerMomentum(double beta) : ServerStep
{
    private readonly double _beta = beta is >= 0 and < 1
        ? beta
        : throw new InvalidOptionsException([$"beta is {beta}; a number of at least 0 and below 1 was expected."]);

    public override string Name => "server-momentum";

    // one tensor for each float tensor of the model, stored as name#m; all 0 before the first round
    public override IReadOnlyList<StateSlot> State { get; } = [new StateSlot("m")];

    // called from several threads, each with other elements
    public override void Apply(ElementBlock block)
    {
        Span<double> update = block.Update, momentum = block.State(0);
        for (int i = 0; i < update.Length; i++)
        {
            momentum[i] = _beta * momentum[i] + update[i];
            update[i] = momentum[i];
        }
    }
}
