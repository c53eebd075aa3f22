namespace FedICU;

/// <summary>
/// FedProx's server, which computes the same mean as <see cref="FedAvgAggregator"/>. FedProx differs at the clients,
/// which add a proximal term to their loss: <see cref="ProximalTerm"/>.
/// </summary>
/// <remarks>
/// Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: "Federated Optimization in Heterogeneous Networks", MLSys 2020.
/// </remarks>
public sealed class FedProxAggregator : TensorAggregator, ITensorRule
{
    /// <summary>Creates the strategy.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public FedProxAggregator(FedProxOptions? options = null)
    {
        Options = options ?? new FedProxOptions();
        Options.Validate();
    }

    /// <summary>Gets the options. A server sends <see cref="FedProxOptions.Mu"/> to its clients.</summary>
    public FedProxOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedprox";

    /// <inheritdoc/>
    protected override ITensorRule Begin(ModelContext model) => this;

    bool ITensorRule.IsThreadSafe => true;

    void ITensorRule.Aggregate(TensorContext tensor) => tensor.WeightedMean();
}
