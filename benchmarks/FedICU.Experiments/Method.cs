namespace FedICU.Experiments;

/// <summary>What learns, and what is shared.</summary>
internal enum MethodKind
{
    /// <summary>Nothing is trained.</summary>
    Base,
    /// <summary>Each client trains for itself.</summary>
    Local,
    /// <summary>One adapter is trained on all clients' texts with as many steps as they have together.</summary>
    Central,
    /// <summary>Rounds of a federation.</summary>
    Federated,
}

/// <summary>How far the server goes from the received model x to what its aggregator made, y: x + step (y - x).</summary>
internal enum StepRule
{
    /// <summary>As far as the method's number says.</summary>
    Fixed,
    /// <summary>FedExP (Jhunjhunwala et al. 2023): max(1, mean_k |d_k|^2 / (2 |D|^2)), d_k the clients' updates, D the aggregate's.</summary>
    FedExP,
    /// <summary>Ours: sqrt(mean_k |d_k| / |D|), d_k what was sent: what the mean of unlike updates loses of their length is given back by half, in logarithms.</summary>
    Consensus,
}

/// <summary>Whether the server works on products B A of factors, and takes the nearest factors of the rank in the end.</summary>
internal enum ProductRule
{
    /// <summary>It works on the factors.</summary>
    None,
    /// <summary>The mean of the products (FlexLoRA, Bai et al. 2024).</summary>
    Mean,
    /// <summary>What clients changed of the product, split by columns with uniform weights and coherence 0.5.</summary>
    Split,
}

/// <summary>A method of the comparison.</summary>
/// <param name="Name">Its name in tables and on the command line.</param>
/// <param name="Group">What it is compared with.</param>
/// <param name="Does">What it does, for the table.</param>
internal sealed record Method(string Name, string Group, string Does)
{
    public MethodKind Kind { get; init; } = MethodKind.Federated;

    /// <summary>The library's strategy and its settings.</summary>
    public string Strategy { get; init; } = "fedavg";

    public Dictionary<string, string> Settings { get; init; } = [];

    /// <summary>Settings of the client's mask; null: whole updates.</summary>
    public Dictionary<string, string>? Mask { get; init; }

    /// <summary>FedProx's; 0: none.</summary>
    public double Mu { get; init; }

    public StepRule StepRule { get; init; }

    public double Step { get; init; } = 1;

    public ProductRule Product { get; init; }

    /// <summary>Whether clients' weights come from their loss on a small text at the server, softmax(-loss / tau).</summary>
    public bool Validated { get; init; }

    public static IReadOnlyList<Method> All { get; } =
    [
        new("base", "lines", "no training") { Kind = MethodKind.Base },
        new("local", "lines", "each client alone, as many steps") { Kind = MethodKind.Local },
        new("central", "lines", "one adapter on all texts, as many steps as all clients") { Kind = MethodKind.Central },
        new("fedavg", "averages", "FedAvg"),
        .. from step in (double[])[0.7, 1.3, 1.6] select new Method($"fedavg-{step}", "averages", $"FedAvg, server step {step}") { Step = step },
        .. from mu in (double[])[0.01, 0.1] select new Method($"fedprox-{mu}", "averages", $"FedProx, mu {mu}") { Mu = mu },
        new("fedexp", "averages", "FedAvg, FedExP's step") { StepRule = StepRule.FedExP },
        new("flexlora", "averages", "mean of B A, truncated to the rank") { Product = ProductRule.Mean },
        new("fedicu", "fedicu", "as in the paper: split, tau 0.1, and mask, beta 0.9") { Strategy = "fedicu", Mask = [] },
        new("split", "fedicu", "FedICU without the mask") { Strategy = "fedicu" },
        new("mask", "fedicu", "FedICU without the split") { Mask = [] },
        Split("axis", "rows"), Split("axis", "tensor"), Split("granularity", "model"), Split("tau", "0.05"), Split("tau", "0.5"), Split("tau", "inf"), Split("weights", "relu"),
        Split("target", "delta"), Split("similarity", "mean"), Split("consensus", "share"),
        new("split-delta-tau-inf", "split", "split of the delta, tau inf") { Strategy = "fedicu", Settings = new() { ["target"] = "delta", ["tau"] = "inf" } },
        new("mask-beta-0", "mask", "mask, no momentum") { Mask = new() { ["momentum"] = "none" } },
        new("mask-soft", "mask", "soft mask") { Mask = new() { ["mask"] = "soft" } },
        .. from top in (double[])[0.5, 0.25, 0.1, 0.03] select new Method($"mask-top-{top}", "mask", $"mask of the {top:P0} most important") { Mask = new() { ["mask"] = $"top={top}", ["momentum"] = "none" } },
        new("fedicu-tau-inf-beta-0", "mask", "split, tau inf, and mask without momentum") { Strategy = "fedicu", Settings = new() { ["tau"] = "inf" }, Mask = new() { ["momentum"] = "none" } },
        new("consensus-step", "ours", "FedAvg, step by consensus") { StepRule = StepRule.Consensus },
        new("consensus-step-mask", "ours", "the same, mask without momentum") { StepRule = StepRule.Consensus, Mask = new() { ["momentum"] = "none" } },
        Coherent("coherent", "split of the delta, uniform weights, coherence 0.5", "columns", null),
        Coherent("coherent-tensor", "the same with a length a tensor", "tensor", null),
        Coherent("coherent-mask", "coherent, mask without momentum", "columns", "hard"),
        Coherent("coherent-tensor-mask", "the same with a length a tensor", "tensor", "hard"),
        new("coherent-product", "ours", "the columns of B A split so, truncated to the rank") { Product = ProductRule.Split },
        new("validated", "ours", "split of the delta, weights by a loss at the server, tau 0.1")
        {
            Strategy = "fedicu", Settings = new() { ["target"] = "delta", ["granularity"] = "model" }, Validated = true,
        },
    ];

    /// <summary>Those of the short run.</summary>
    public static IReadOnlyList<string> Quick { get; } = ["base", "local", "central", "fedavg", "fedavg-1.3", "fedicu", "split", "mask-beta-0", "consensus-step-mask"];

    private static Method Coherent(string name, string does, string axis, string? mask) => new(name, "ours", does)
    {
        Strategy = "fedicu",
        Settings = new() { ["target"] = "delta", ["tau"] = "inf", ["coherence"] = "0.5", ["axis"] = axis },
        Mask = mask is null ? null : new() { ["mask"] = mask, ["momentum"] = "none" },
    };

    private static Method Split(string name, string value) =>
        new($"split-{name}-{value}", "split", $"split, {name} {value}") { Strategy = "fedicu", Settings = new() { [name] = value } };
}
