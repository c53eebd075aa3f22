using System.Numerics.Tensors;
using FedICU.Model;
using FedICU.Strategies.ServerSteps;
using FedICU.Strategies.Statements;

namespace FedICU;

/// <summary>
/// SCAFFOLD's step of the server: x = x + eta D, c = c + (1/M) sum_k dc_k. D is the merged update, c the server's
/// control variate, and dc_k the change of client k's.
/// </summary>
/// <remarks>
/// Karimireddy, Kale, Mohri, Reddi, Stich, Suresh: "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
/// ICML 2020.
/// </remarks>
public sealed class Scaffold : ServerStep
{
    /// <summary>Creates the step.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Scaffold(ScaffoldOptions? options = null)
    {
        Options = options ?? new ScaffoldOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public ScaffoldOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "scaffold";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State { get; } = [new StateSlot("c")];

    /// <inheritdoc/>
    public override bool ReadsControls => Options.Control == ScaffoldControl.Sent;

    /// <inheritdoc/>
    public override bool ReadsStatements => IsDerived;

    private bool IsDerived => Options.Control == ScaffoldControl.Derived;

    /// <inheritdoc/>
    public override string? DescribeFault(RoundClient client)
    {
        ArgumentNullException.ThrowIfNull(client);
        return IsDerived ? StatementFaults.DescribeSteps(client.Statements.LocalSteps) : null;
    }

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
        double[] weights = Weigh(plan);
        return IsDerived
            ? [new ClientSum(
                ClientSumSource.Updates,
                [.. weights.Zip(plan.Clients, (weight, client) =>
                    -weight / (client.Statements.LocalSteps!.Value * Options.LocalLearningRate!.Value))])]
            : [new ClientSum(ClientSumSource.Controls, weights)];
    }

    /// <inheritdoc/>
    public override void Apply(ElementBlock block)
    {
        // of derived changes, sum_k u_k dc_k is the sum of the updates' parts less c sum_k u_k
        double kept = !IsDerived ? 1 : Options.ControlUpdate == ControlUpdate.Sum ? 1 - block.Plan.Clients.Count * GetPart(block.Plan) : 0;
        TensorPrimitives.MultiplyAdd(block.State(0), kept, block.Sum(0), block.State(0));
        TensorPrimitives.Multiply(block.Update, Options.ServerLearningRate, block.Update);
    }

    private double GetPart(RoundPlan plan) => 1.0 / (Options.Population ?? plan.CountAtStart);

    /// <summary>Returns the factor u_k of each client's change.</summary>
    private double[] Weigh(RoundPlan plan)
    {
        double total = plan.Clients.Sum(client => client.MergeWeight), part = GetPart(plan);
        return [.. plan.Clients.Select(client => Options.ControlUpdate == ControlUpdate.Sum ? part : client.MergeWeight / total)];
    }
}
