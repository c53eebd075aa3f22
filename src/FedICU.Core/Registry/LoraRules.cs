using FedICU.Strategies.ServerSteps;

namespace FedICU.Registry;

/// <summary>The library's rules of LoRA pairs. FedICU.Lora adds those that need linear algebra.</summary>
internal static class LoraRules
{
    public static IReadOnlyList<StrategyDescription> All { get; } =
    [
        new("ffa-lora", "The mean of LoRA's B; A is frozen.", "Sun et al. 2024", reader =>
        {
            Weighting weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Share);
            return () => [new MeanWeights("ffa-lora", weighting), new FfaLora()];
        }),
        new("fedex-lora", "The means of LoRA's factors; what they lose goes to the base model.", "Singhal et al. 2025", reader =>
        {
            var options = new FedExLoraOptions
            {
                Base = reader.Text("base", "model", "The base model, to which the residual is added; needs base-output."),
                BaseOutput = reader.Text("base-output", "file or folder", "Where the new base model is written."),
                ResidualOutput = reader.Text("residual-output", "file or folder", "Where the residual is written as an adapter."),
                LoraScaling = ReadScaling(reader),
                Weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Share),
            };
            return () => [new MeanWeights("fedex-lora", options.Weighting), new FedExLora(options)];
        }),
        new("flora", "Stacks the clients' LoRA factors; exact, of the sum of their ranks.", "Wang et al. 2024", reader =>
        {
            var options = new FLoraOptions
            {
                LoraScaling = ReadScaling(reader),
                Weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Share),
            };
            return () => [new MeanWeights("flora", options.Weighting), new FLora(options)];
        }),
        new("hetlora", "Pads LoRA factors to the largest rank; averages them by their products' norms.", "Cho et al. 2024", reader =>
        {
            var options = new HetLoraOptions
            {
                Weights = reader.Choice(
                    "norm-weights", HetLoraWeights.Frobenius, "How the clients weigh: by the norms of their products, or as in a mean.",
                    ("frobenius", HetLoraWeights.Frobenius), ("share", HetLoraWeights.Share), ("uniform", HetLoraWeights.Uniform)),
                Granularity = reader.Choice(
                    "granularity", Granularity.Tensor, "Whether norms are of each pair, or of all pairs together.",
                    ("tensor", Granularity.Tensor), ("model", Granularity.Model)),
                LoraScaling = ReadScaling(reader),
            };
            reader.RefuseUnused("granularity", options.Weights == HetLoraWeights.Frobenius, "without norm-weights=frobenius");
            return () => [new HetLora(options)];
        }),
    ];

    /// <summary>Reads the scaling of adapters without a configuration.</summary>
    public static double? ReadScaling(OptionReader reader) => reader.NumberOr(
        "lora-scaling", null, "none", "The scaling s of adapters without a configuration, as bare files and arrays are.");
}
