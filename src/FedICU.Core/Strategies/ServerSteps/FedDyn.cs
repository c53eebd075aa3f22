using System.Numerics.Tensors;
using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>
/// FedDyn's step of the server: s = s + (1/M) sum_k d_k, x = x + D + s. D is the merged update, the mean of the d_k.
/// </summary>
/// <remarks>
/// Acar, Zhao, Matas, Mattina, Whatmough, Saligrama: "Federated Learning Based on Dynamic Regularization", ICLR 2021. s
/// is -h / alpha of the paper; alpha has no effect on the server.
/// </remarks>
public sealed class FedDyn : ServerStep
{
    /// <summary>Creates the step.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public FedDyn(FedDynOptions? options = null)
    {
        Options = options ?? new FedDynOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public FedDynOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "feddyn";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State { get; } = [new StateSlot("s")];

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        Population.Check(plan, Name, Options.Population);
    }

    internal override bool SumsClients => true;

    /// <inheritdoc/>
    public override IReadOnlyList<ClientSum> GetSums(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        double part = 1.0 / (Options.Population ?? plan.CountAtStart);
        return [new ClientSum(ClientSumSource.Updates, [.. plan.Clients.Select(_ => part)])];
    }

    /// <inheritdoc/>
    public override void Apply(ElementBlock block)
    {
        TensorPrimitives.Add(block.State(0), block.Sum(0), block.State(0));
        TensorPrimitives.Add(block.Update, block.State(0), block.Update);
    }
}
