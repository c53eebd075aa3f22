namespace FedICU;

/// <summary>Options of <see cref="AdapterFusion"/>.</summary>
public sealed record FusionOptions
{
    /// <summary>Gets a factor of the adapter's products, finite. <value>Default: 1.</value></summary>
    public double Scale { get; init; } = 1;

    /// <summary>
    /// Gets the scaling s of an adapter without a configuration, finite and not 0. <value>Default: null; such an
    /// adapter is then refused.</value>
    /// </summary>
    public double? LoraScaling { get; init; }

    /// <summary>Gets the type of the float tensors. <value>Default: null, the base model's types.</value></summary>
    public DType? OutputDType { get; init; }

    /// <summary>
    /// Gets the number of threads; it has no effect on the result. <value>Default: 0, one for each CPU.</value>
    /// </summary>
    public int Threads { get; init; }

    /// <summary>Receives the progress. <value>Default: null.</value></summary>
    public IProgress<RoundProgress>? Progress { get; init; }
}
