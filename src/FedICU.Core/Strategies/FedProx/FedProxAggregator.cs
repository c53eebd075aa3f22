namespace FedICU;

/// <summary>
/// FedProx's server: the same mean as <see cref="FedAvgAggregator"/>; its own part is the clients' proximal term, <see cref="ProximalTerm"/>
/// (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: "Federated Optimization in Heterogeneous Networks", MLSys 2020).
/// </summary>
public sealed class FedProxAggregator : TensorAggregator, ITensorRule
{
    /// <summary>Makes the rule.</summary>
    /// <param name="options">The strength of the clients' term; null: the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options contradict their rules.</exception>
    public FedProxAggregator(FedProxOptions? options = null)
    {
        Options = options ?? new FedProxOptions();
        Options.Validate();
    }

    /// <summary>The options given; servers send <see cref="FedProxOptions.Mu"/> to their clients.</summary>
    public FedProxOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedprox";

    /// <inheritdoc/>
    protected override ITensorRule Begin(ModelContext model) => this;

    bool ITensorRule.IsThreadSafe => true;

    void ITensorRule.Aggregate(TensorContext tensor) => tensor.WeightedMean();
}
