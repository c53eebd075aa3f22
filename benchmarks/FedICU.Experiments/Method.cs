namespace FedICU.Experiments;

/// <summary>A method of the comparison.</summary>
/// <param name="Name">The method's name in tables and on the command line.</param>
/// <param name="Does">What the method does, for the table.</param>
internal sealed record Method(string Name, string Does)
{
    private static readonly Dictionary<string, string> Paper = new() { ["preset"] = "paper" };

    // written out instead of named by a preset, because result rows contain the settings and a preset may change
    private static readonly Dictionary<string, string> Coherent =
        new() { ["target"] = "delta", ["tau"] = "inf", ["coherence"] = "0.5" };

    private static readonly Dictionary<string, string> Now = new() { ["momentum"] = "none" };

    public MethodKind Kind { get; init; } = MethodKind.Federated;

    /// <summary>The library's strategy and its settings.</summary>
    public string Strategy { get; init; } = "fedavg";

    public Dictionary<string, string> Settings { get; init; } = [];

    /// <summary>The settings of the client's mask; null for whole updates.</summary>
    public Dictionary<string, string>? Mask { get; init; }

    /// <summary>
    /// Whether the mask's importances are shuffled, so that the same number of random entries is sent. This shows the
    /// effect of a mask's size alone.
    /// </summary>
    public bool RandomMask { get; init; }

    /// <summary>FedProx's mu; 0 for none.</summary>
    public double Mu { get; init; }

    /// <summary>The alpha of FedDyn's regulariser at the clients; 0 for none.</summary>
    public double DynamicAlpha { get; init; }

    /// <summary>
    /// The server's step from the received model x towards the aggregator's result y: x + step (y - x).
    /// </summary>
    public double Step { get; init; } = 1;

    /// <summary>The rank of all adapters; null for those of the scenario's clients.</summary>
    public int? Rank { get; init; }

    /// <summary>
    /// Whether the factors are balanced at the end of a round, as by <see cref="LoraBalance"/>.
    /// </summary>
    public bool Balanced { get; init; }

    /// <summary>
    /// Whether clients' weights come from a validation text of their domains at the server: from their loss on it,
    /// softmax(-loss / tau), or with FLTrust from an update trained on it. Other methods have no such text.
    /// </summary>
    public bool Validated { get; init; }

    /// <summary>The clients over which an entry's mean is taken.</summary>
    public MeanOver MeanOver { get; init; }

    /// <summary>Whether all clients have the same weight.</summary>
    public bool Uniform { get; init; }

    /// <summary>
    /// Everything but the name. Rounds with the same name and another definition belong to another method.
    /// </summary>
    public string Definition => string.Join(", ", Parts());

    /// <summary>
    /// Whether the method is FedAvg apart from the server's step, which trades the domains against what is forgotten.
    /// </summary>
    public bool IsOnDial => (this with { Step = 1 }).Definition == "fedavg";

    public static IReadOnlyList<Method> All { get; } =
    [
        new("base", "no training") { Kind = MethodKind.Base },
        new("local", "each client alone, as many steps") { Kind = MethodKind.Local },
        new("central", "one adapter on all texts, as many steps as all clients") { Kind = MethodKind.Central },
        new("local-balanced", "each client alone, balanced factors after each round") { Kind = MethodKind.Local, Balanced = true },
        new("central-balanced", "one adapter on all texts, balanced factors after each round")
        {
            Kind = MethodKind.Central,
            Balanced = true,
        },
        new("fedavg", "FedAvg"),
        .. from step in (double[])[0.2, 0.4, 0.55, 0.7, 0.85, 1.3, 1.6, 2]
           select new Method($"fedavg-{step}", $"FedAvg, server step {step}") { Step = step },
        new("fedavg-uniform", "FedAvg, all clients weigh the same") { Uniform = true },
        .. from mu in (double[])[0.01, 0.1] select new Method($"fedprox-{mu}", $"FedProx, mu {mu}") { Mu = mu },
        new("fedicu", "the literal reading: split, tau 0.1, and mask, beta 0.9") { Strategy = "fedicu", Settings = Paper, Mask = Paper },
        new("split", "split alone, literal") { Strategy = "fedicu", Settings = Paper },
        new("mask", "mask alone, literal") { Mask = Paper },
        Split("axis", "rows"), Split("axis", "tensor"), Split("granularity", "model"), Split("tau", "0.05"), Split("tau", "0.5"),
        Split("tau", "inf"), Split("weights", "relu"), Split("target", "delta"), Split("weights", "raw"),
        Split("similarity", "pairwise-self"), Split("similarity", "mean"), Split("similarity", "previous"),
        new("mask-now", "hard mask of the round's update, no momentum") { Mask = Now },
        .. from step in (double[])[1.3, 1.6]
           select new Method($"mask-now-{step}", $"hard mask of the round's update, server step {step}") { Mask = Now, Step = step },
        new("mask-senders", "hard mask of the round's update, an entry's mean over those that sent it")
        {
            Mask = Now,
            MeanOver = MeanOver.Senders,
        },
        new("mask-agreeing", "hard mask of the round's update, an entry's mean over those that agree in its sign")
        {
            Mask = Now,
            MeanOver = MeanOver.Agreeing,
        },
        new("agreeing", "whole updates, an entry's mean over those that agree in its sign") { MeanOver = MeanOver.Agreeing },
        new("mask-soft", "soft mask, beta 0.9") { Mask = new() { ["mask"] = "soft" } },
        .. from top in (double[])[0.5, 0.1, 0.03]
           select new Method($"mask-top-{top}", $"mask of the {top:P0} most important of the round's update") { Mask = Top(top) },
        .. from beta in (double[])[0.3, 0.6]
           select new Method($"mask-beta-{beta}", $"hard mask, beta {beta}") { Mask = new() { ["beta"] = $"{beta}" } },
        new("mask-soft-now", "soft mask of the round's update, no momentum") { Mask = new(Now) { ["mask"] = "soft" } },
        .. from importance in (string[])["minmax", "rank"]
           select new Method($"mask-{importance}", $"hard mask of the round's update, importance {importance}")
           {
               Mask = new(Now) { ["importance"] = importance },
           },
        new("mask-random", "as many random entries as mask-now") { Mask = Now, RandomMask = true },
        .. from top in (double[])[0.5, 0.1]
           select new Method($"mask-random-{top}", $"mask of {top:P0} random entries") { Mask = Top(top), RandomMask = true },
        new("split-mask-now", "split, tau inf, and hard mask of the round's update")
        {
            Strategy = "fedicu",
            Settings = new() { ["tau"] = "inf" },
            Mask = Now,
        },
        new("coherent", "coherent split of the updates") { Strategy = "fedicu", Settings = Coherent },
        .. from g in (double[])[0.25, 0.75]
           select new Method($"coherent-{g}", $"coherent split, coherence {g}")
           {
               Strategy = "fedicu",
               Settings = new(Coherent) { ["coherence"] = $"{g}" },
           },
        new("coherent-tensor", "coherent split, a length for each tensor")
        {
            Strategy = "fedicu",
            Settings = new(Coherent) { ["axis"] = "tensor" },
        },
        new("coherent-mask", "coherent split and mask") { Strategy = "fedicu", Settings = Coherent, Mask = Now },
        new("validated", "split of the updates, weights by a loss at the server")
        {
            Strategy = "fedicu",
            Settings = new() { ["target"] = "delta", ["granularity"] = "model" },
            Validated = true,
        },
        new("balanced", "FedAvg, balanced factors") { Balanced = true },
        new("balanced-1.3", "FedAvg, server step 1.3, balanced factors") { Balanced = true, Step = 1.3 },
        new("balanced-mask", "FedAvg, balanced factors, hard mask of the round's update") { Balanced = true, Mask = Now },
        .. from step in (double[])[1.3, 1.6]
           select new Method($"balanced-mask-{step}", $"FedAvg, server step {step}, balanced factors, hard mask of the round's update")
           {
               Balanced = true,
               Mask = Now,
               Step = step,
           },
        new("balanced-fedicu", "the literal reading, balanced factors")
        {
            Balanced = true,
            Strategy = "fedicu",
            Settings = Paper,
            Mask = Paper,
        },
        new("balanced-coherent", "coherent split, balanced factors") { Balanced = true, Strategy = "fedicu", Settings = Coherent },
        new("balanced-coherent-mask", "coherent split and mask, balanced factors: the preset balanced")
        {
            Balanced = true,
            Strategy = "fedicu",
            Settings = Coherent,
            Mask = Now,
        },
        .. RuleMethods.Lora, .. RuleMethods.All,
    ];

    /// <summary>The names of the methods of the short run.</summary>
    public static IReadOnlyList<string> Quick { get; } =
    [
        "base", "local", "central", "fedavg", "fedavg-0.55", "fedavg-1.3", "fedicu", "mask-now", "balanced-mask", "balanced-coherent-mask",
    ];

    // the keys of saved results contain these words, so they must not change
    private IEnumerable<string> Parts()
    {
        yield return Kind == MethodKind.Federated ? Text(Strategy, Settings) : $"{Kind}".ToLowerInvariant();
        if (Mask is not null)
            yield return Text(RandomMask ? "mask by lot" : "mask", Mask);
        if (Mu != 0)
            yield return $"mu {Mu}";
        if (DynamicAlpha != 0)
            yield return $"alpha {DynamicAlpha}";
        if (Uniform)
            yield return "uniform weights";
        if (Validated)
            yield return "weights by validation";
        if (MeanOver != MeanOver.All)
            yield return $"mean over {MeanOver}".ToLowerInvariant();
        if (Step != 1)
            yield return $"step {Step}";
        if (Rank is not null)
            yield return $"rank {Rank}";
        if (Balanced)
            yield return "balanced";

        static string Text(string what, Dictionary<string, string> settings)
        {
            IEnumerable<string> pairs = settings.OrderBy(pair => pair.Key, StringComparer.Ordinal)
                .Select(pair => $"{pair.Key}={pair.Value}");
            return string.Join(' ', pairs.Prepend(what));
        }
    }

    private static Dictionary<string, string> Top(double ratio) => new(Now) { ["mask"] = $"top={ratio}" };

    private static Method Split(string name, string value) =>
        new($"split-{name}-{value}", $"split, {name} {value}") { Strategy = "fedicu", Settings = new(Paper) { [name] = value } };
}
