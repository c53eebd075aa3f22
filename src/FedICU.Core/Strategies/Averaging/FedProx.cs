namespace FedICU;

/// <summary>
/// FedProx's merge, which computes the same mean as <see cref="FedAvg"/>. FedProx differs at the clients, which add a
/// proximal term to their loss: <see cref="ProximalTerm"/>.
/// </summary>
/// <remarks>
/// Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: "Federated Optimization in Heterogeneous Networks", MLSys 2020.
/// </remarks>
public sealed class FedProx : MergeRule
{
    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public FedProx(FedProxOptions? options = null)
    {
        Options = options ?? new FedProxOptions();
        Options.Validate();
    }

    /// <summary>Gets the options. A server sends <see cref="FedProxOptions.Mu"/> to its clients.</summary>
    public FedProxOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedprox";

    internal override bool IsMean => true;

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        tensor.WeightedMean();
    }
}
