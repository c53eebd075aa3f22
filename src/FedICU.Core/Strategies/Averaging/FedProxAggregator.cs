namespace FedICU;

/// <summary>FedProx's server: the same mean as FedAvg's (<see cref="FedProx"/>).</summary>
public sealed class FedProxAggregator : StageAggregator
{
    /// <summary>Creates the strategy.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public FedProxAggregator(FedProxOptions? options = null) : this(new FedProx(options))
    {
    }

    private FedProxAggregator(FedProx merge) : base(merge) => Options = merge.Options;

    /// <summary>Gets the options. A server sends <see cref="FedProxOptions.Mu"/> to its clients.</summary>
    public FedProxOptions Options { get; }
}
