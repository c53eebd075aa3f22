namespace FedICU;

/// <summary>
/// FedICU's server (<see cref="FedIcu"/>), with the balancing of LoRA pairs if the options ask for it.
/// </summary>
public sealed class FedIcuAggregator : StageAggregator
{
    /// <summary>Creates the strategy.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedIcuAggregator(FedIcuOptions? options = null) : this(new FedIcu(options))
    {
    }

    private FedIcuAggregator(FedIcu merge) : base(merge.Options.BalanceLora ? [merge, new LoraBalance()] : [merge]) =>
        Options = merge.Options;

    /// <summary>Gets the options.</summary>
    public FedIcuOptions Options { get; }
}
