using FedICU.Model;
using FedICU.Strategies.Statements;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// q-FedAvg's weighting: clients of a larger loss count more. With L = 1 / local-lr and F_k = loss_k + eps: h_k = q
/// F_k^(q-1) L^2 ||d_k||^2 + L F_k^q, x = x + sum_k w_k F_k^q L d_k / sum_k w_k h_k.
/// </summary>
/// <remarks>
/// Li, Sanjabi, Beirami, Smith: "Fair Resource Allocation in Federated Learning", ICLR 2020. loss_k is the loss of the
/// global model on the client's data.
/// </remarks>
public sealed class QFedAvg : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public QFedAvg(QFedAvgOptions? options = null)
    {
        Options = options ?? new QFedAvgOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public QFedAvgOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "qfedavg";

    /// <inheritdoc/>
    public override bool ReadsStatements => true;

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.SquaredNorms];

    /// <inheritdoc/>
    public override string? DescribeFault(RoundClient client)
    {
        ArgumentNullException.ThrowIfNull(client);
        return StatementFaults.Describe(MetadataKeys.Loss, client.Statements.Loss, 0);
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        double[] shares = weights.Weigh(Options.Weighting), h = new double[shares.Length], factors = new double[shares.Length];
        ReadOnlySpan<double> squares = plan[RoundStatistic.SquaredNorms];
        double inverse = 1 / Options.LocalLearningRate, total = 0;
        for (int k = 0; k < shares.Length; k++)
        {
            double loss = plan.Clients[k].Statements.Loss!.Value + Options.LossEpsilon, power = Math.Pow(loss, Options.Q);
            // q F^(q-1) of q = 0 is 0, also for a loss of 0
            double slope = Options.Q == 0 ? 0 : Options.Q * Math.Pow(loss, Options.Q - 1);
            factors[k] = power * inverse;
            h[k] = slope * inverse * inverse * squares[k] + inverse * power;
            total += shares[k] * h[k];
            if (!double.IsFinite(h[k]))
            {
                throw RoundPlan.Refuse(
                    $"{Sentence.Quote(Name)}: h_k of client {Sentence.Quote(plan.Clients[k].Id)} is {Numbers.Invariant(h[k])}; " +
                    "a finite number was expected.");
            }
        }

        if (!(total > 0 && double.IsFinite(total)))
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(Name)}: the sum of h_k is {Numbers.Invariant(total)}; a finite number above 0 was expected.");
        }

        for (int k = 0; k < factors.Length; k++)
            weights.Factors[k] *= factors[k] / total;
        plan.Report(this, "h", h);
    }
}
