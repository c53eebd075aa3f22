using FedICU.Model;
using FedICU.Strategies.Statements;

namespace FedICU;

/// <summary>
/// FedNova's weighting: each update is divided by what its local steps add up to, so that clients of many steps do not
/// pull the mean to them: x = x + eta t_eff sum_k w_k d_k / a_k.
/// </summary>
/// <remarks>
/// Wang, Liu, Liang, Joshi, Poor: "Tackling the Objective Inconsistency Problem in Heterogeneous Federated
/// Optimization", NeurIPS 2020. a_k is <c>normalizer</c> if the client states it, otherwise it follows from
/// <c>local_steps</c>.
/// </remarks>
public sealed class FedNova : ClientWeighting
{
    // The steps up to which a_k is summed term by term. Chosen: no client makes it slow, and few terms lose digits in
    // the closed form.
    private const double MostSummed = 1e6;

    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public FedNova(FedNovaOptions? options = null)
    {
        Options = options ?? new FedNovaOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public FedNovaOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fednova";

    /// <inheritdoc/>
    public override bool ReadsStatements => true;

    private bool NeedsSteps => Options is { GivenSteps: null, EffectiveSteps: EffectiveSteps.Steps };

    /// <inheritdoc/>
    public override string? DescribeFault(RoundClient client)
    {
        ArgumentNullException.ThrowIfNull(client);
        ClientStatements stated = client.Statements;
        if (stated.Normalizer is <= 0)
            return $"{MetadataKeys.Normalizer} is {Text.Numbers.Invariant(stated.Normalizer.Value)}; a number above 0 was expected";
        return stated.Normalizer is not null && !NeedsSteps
            ? null
            : StatementFaults.DescribeSteps(stated.LocalSteps);
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        double[] shares = weights.Weigh(Options.Weighting);
        double[] normalizers = [.. plan.Clients.Select(client => Normalize(client.Statements))];
        double effective = Options.GivenSteps ?? 0;
        for (int k = 0; k < shares.Length && Options.GivenSteps is null; k++)
            effective += shares[k] * (NeedsSteps ? plan.Clients[k].Statements.LocalSteps!.Value : normalizers[k]);
        for (int k = 0; k < normalizers.Length; k++)
            weights.Factors[k] *= Options.ServerLearningRate * effective / normalizers[k];
        plan.Report(this, "normalizer", normalizers);
    }

    /// <summary>Computes a_k, the sum of the weights that local training gives the gradients of its steps.</summary>
    private double Normalize(ClientStatements stated)
    {
        if (stated.Normalizer is { } given)
            return given;
        double steps = stated.LocalSteps!.Value, sum = 0;
        if (Options.LocalMomentum == 0 && Options.LocalProx == 0)
            return steps;
        double momentum = Options.LocalMomentum, rest = 1 - Options.LocalProx, power = 1;
        if (steps > MostSummed)
        {
            return momentum > 0
                ? (steps - momentum * (1 - Math.Pow(momentum, steps)) / (1 - momentum)) / (1 - momentum)
                : (1 - Math.Pow(rest, steps)) / Options.LocalProx;
        }

        for (int j = 0; j < steps; j++)
        {
            if (momentum > 0)
                sum += (1 - (power *= momentum)) / (1 - momentum);
            else
                (sum, power) = (sum + power, power * rest);
        }

        return sum;
    }
}
