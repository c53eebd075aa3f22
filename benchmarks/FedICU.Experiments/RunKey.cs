namespace FedICU.Experiments;

/// <summary>The key of a method's results. Only results with the same key belong together.</summary>
/// <param name="Options"><see cref="ExperimentOptions.Name"/>.</param>
/// <param name="Corpus"><see cref="Experiments.Corpus.Source"/>.</param>
/// <param name="Texts"><see cref="Experiments.Corpus.Texts"/>.</param>
/// <param name="Base">The hash of the base that all methods start from.</param>
/// <param name="Machine">The CPU and its threads: Torch's kernels differ between them.</param>
/// <param name="Scenario">The scenario's name.</param>
/// <param name="Method">The method's name.</param>
/// <param name="Settings"><see cref="Experiments.Method.Definition"/>.</param>
/// <param name="Seed">The seed, from 1.</param>
internal sealed record RunKey(
    string Options, string Corpus, string Texts, string Base, string Machine, string Scenario, string Method, string Settings, int Seed)
{
    /// <summary>
    /// Gets the key under its present name. Lines of the experiment's own FlexLoRA stay readable: the library's
    /// strategy, which took its place, gives the same factors but for rounding.
    /// </summary>
    public RunKey Present() => (Method, Settings) == ("products", "fedavg, products")
        ? this with { Method = "flexlora", Settings = "flexlora lora-scaling=2" }
        : this;
}
