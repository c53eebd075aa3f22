using FedICU.Strategies.Robust;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// FLTrust's weighting: clients count by how far their update points where the server's own g does. With t_k = max(0,
/// cos(d_k, g)): x = x + eta sum_k t_k d_k ||g|| / ||d_k|| / sum_k t_k.
/// </summary>
/// <remarks>
/// Cao, Fang, Liu, Gong: "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", NDSS 2021. Without any
/// trust the global model stays.
/// </remarks>
public sealed class FlTrust : ClientWeighting
{
    internal const string RootName = "root";

    private static readonly RootProducts Products = new();

    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public FlTrust(FlTrustOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        Options = options;
    }

    /// <summary>Gets the options.</summary>
    public FlTrustOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fltrust";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [Products];

    internal override IReadOnlyList<(string Name, string Path)> Models => [(RootName, Options.Root)];

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        int clients = plan.Clients.Count;
        ReadOnlySpan<double> sums = plan[Products];
        double rootNorm = Math.Sqrt(sums[clients]);
        if (rootNorm <= UpdateNorms.Epsilon)
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(Name)}: the root {Sentence.Quote(Options.Root)} is the global model; a model that the server " +
                "trained further was expected.");
        }

        double[] cosines = new double[clients];
        bool trusts = false;
        for (int k = 0; k < clients; k++)
        {
            double norm = Math.Sqrt(sums[k]), product = sums[clients + 1 + k];
            cosines[k] = norm <= UpdateNorms.Epsilon ? 0 : product / (norm * rootNorm);
            weights.Weights[k] = Math.Max(0, cosines[k]);
            weights.Factors[k] *= norm <= UpdateNorms.Epsilon ? 0 : Options.ServerLearningRate * rootNorm / norm;
            trusts |= weights.Weights[k] > 0;
        }

        plan.Report(this, "cosine", cosines);
        if (trusts)
            return;
        plan.Note("fltrust trusts no client: the global model stays.");
        weights.Weights.Fill(1);
        weights.Factors.Clear();
    }
}
