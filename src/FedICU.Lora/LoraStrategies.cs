using FedICU.Registry;
using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>Registers the strategies of FedICU.Lora: <c>flexlora</c>.</summary>
public sealed class LoraStrategies : IStrategyPlugin
{
    private static readonly Lock Gate = new();

    /// <summary>Adds the strategies to the registry of the process, unless they are there already.</summary>
    public static void AddToDefault()
    {
        lock (Gate)
            new LoraStrategies().Register(StrategyRegistry.Default);
    }

    /// <summary>Adds the strategies, unless they are there already.</summary>
    /// <param name="registry">The registry.</param>
    public void Register(StrategyRegistry registry)
    {
        ArgumentNullException.ThrowIfNull(registry);
        if (registry.Find("flexlora") is not null)
            return;
        registry.Add(new StrategyDescription(
            "flexlora", "The best LoRA factors of a rank of the clients' mean product.", "Bai et al. 2024", reader =>
        {
            var options = new FlexLoraOptions
            {
                Rank = reader.CountOr("rank", null, "global", "The rank that is written; global: the global model's, module by module."),
                Split = reader.Choice(
                    "split", FactorSplit.Balanced, "Which factor carries the singular values.",
                    ("balanced", FactorSplit.Balanced), ("b", FactorSplit.B), ("a", FactorSplit.A)),
                LoraScaling = LoraRules.ReadScaling(reader),
                Weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Share),
            };
            return () => [new MeanWeights("flexlora", options.Weighting), new FlexLora(options)];
        }));
    }
}
