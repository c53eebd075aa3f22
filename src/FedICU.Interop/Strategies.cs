namespace FedICU.Interop;

/// <summary>The strategies that callers can name: those of FedICU.Core and FedICU.Lora.</summary>
internal static class Strategies
{
    public static StrategyRegistry Registry { get; } = Create();

    private static StrategyRegistry Create()
    {
        LoraStrategies.AddToDefault();
        return StrategyRegistry.Default;
    }
}
