using FedICU.Model;
using FedICU.Strategies.Statements;

namespace FedICU;

/// <summary>
/// FedBuff's weighting for updates that arrive late: x = x + eta sum_k w_k s(tau_k) d_k. d_k is the difference to the
/// model that the client started from, tau_k the rounds since then.
/// </summary>
/// <remarks>
/// Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba: "Federated Learning with Buffered Asynchronous Aggregation",
/// AISTATS 2022.
/// </remarks>
public sealed class FedBuff : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public FedBuff(FedBuffOptions? options = null)
    {
        Options = options ?? new FedBuffOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public FedBuffOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedbuff";

    internal override bool TakesLateDeltas => true;

    /// <inheritdoc/>
    public override bool ReadsStatements => true;

    /// <inheritdoc/>
    public override string? DescribeFault(RoundClient client)
    {
        ArgumentNullException.ThrowIfNull(client);
        return StatementFaults.Describe(MetadataKeys.Staleness, client.Statements.Staleness, 0);
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        weights.Weigh(Options.Weighting);
        double[] late = [.. plan.Clients.Select(client => Discount(client.Statements.Staleness!.Value))];
        for (int k = 0; k < late.Length; k++)
        {
            weights.Factors[k] *= Options.ServerLearningRate;
            if (Options.Normalization == FedBuffNormalization.Weights)
                weights.Weights[k] *= late[k];
            else
                weights.Factors[k] *= late[k];
        }

        plan.Report(this, "staleness weight", late);
    }

    private double Discount(double staleness) => Options.Staleness switch
    {
        StalenessRule.Polynomial => Math.Pow(1 + staleness, -Options.A),
        StalenessRule.Hinge => staleness <= Options.B ? 1 : 1 / (Options.A * (staleness - Options.B) + 1),
        _ => 1,
    };
}
