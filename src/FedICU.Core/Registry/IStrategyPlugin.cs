namespace FedICU;

/// <summary>
/// A plug-in: a public class with a constructor without parameters that adds strategies to a registry.
/// <c>fedicu --plugin FILE.dll</c> creates each such class of the assembly and calls it once.
/// </summary>
public interface IStrategyPlugin
{
    /// <summary>Adds the plug-in's strategies.</summary>
    /// <param name="registry">The registry, which holds the library's strategies already.</param>
    void Register(StrategyRegistry registry);
}
