namespace FedICU.Experiments;

/// <summary>
/// The library's LoRA, server, robust and private strategies as methods. Their options are chosen by the scale of the
/// updates (a whole update has a norm of about 4, an entry about 0.01), and were not tuned.
/// </summary>
/// <remarks>There is no FedBuff: in these rounds no update is late, and FedBuff then is FedAvg.</remarks>
internal static class RuleMethods
{
    private static readonly string Scaling = $"lora-scaling={Adapter.Scaling}";

    /// <summary>The rules of LoRA pairs. All adapters have the same scaling, whatever their rank.</summary>
    public static IEnumerable<Method> Lora { get; } =
    [
        Rule("flexlora", "the best factors of the mean product", Scaling),
        Rule("flora", "stacked factors, which the base takes; fresh adapters in each round", Scaling),
        Rule("fedex-lora", "the means of the factors; the base takes what they lose", Scaling),
        Rule("ffa-lora", "A frozen at the clients, the mean of B", ""),
        Rule("hetlora", "padded factors, means by the products' norms", Scaling),
        .. from rank in (int[])[2, 16]
           select new Method($"fedavg-rank-{rank}", $"FedAvg, all adapters of rank {rank}") { Rank = rank },
    ];

    public static IEnumerable<Method> All { get; } =
    [
        // steady steps of 0.65 / (1 - 0.5) = 1.3, where FedAvg's own step serves best
        Rule("fedavgm", "momentum at the server", "momentum=0.5 server-lr=0.65"),
        // an entry's step is about the learning rate, whatever the updates; FedAvg's is about 0.01
        .. from rate in (double[])[0.003, 0.01]
           select Rule("fedadam", $"Adam at the server, learning rate {rate}", $"server-lr={rate}", rate),
        Rule("fedadagrad", "Adagrad at the server", "server-lr=0.003"),
        Rule("fedyogi", "Yogi at the server", "server-lr=0.003"),
        Rule("fednova", "updates divided by their local steps", ""),
        Rule("scaffold", "control variates: gradients at the received model, 5 batches", ""),
        // 1 / local-lr squared times the squared norm, 0.16, is as large as 1 / local-lr times the loss, 0.3
        Rule("qfedavg", "clients of a larger loss count more", "local-lr=10 q=1"),
        .. from alpha in (double[])[0.01, 0.1]
           select Rule("feddyn", $"dynamic regulariser, alpha {alpha}", "", alpha) with { DynamicAlpha = alpha },
        Rule("median", "median of each entry", ""),
        .. from count in (int[])[1, 2]
           select Rule("trimmed-mean", $"mean of each entry without the {count} smallest and largest", $"trim-count={count}", count),
        Rule("krum", "the client whose neighbours are nearest", ""),
        Rule("multi-krum", "mean of the clients whose neighbours are nearest", ""),
        Rule("bulyan", "choice by Krum, then the values around the median", ""),
        Rule("geometric-median", "weights towards the geometric median", ""),
        Rule("norm-clip", "updates shortened to the median norm", ""),
        .. from count in (int[])[1, 2]
           select Rule("norm-filter", $"mean without the {count} longest updates", $"byzantine={count}", count),
        Rule("fltrust", "weights by the server's own update, from a text of its own", "") with { Validated = true },
        Rule("centered-clip", "updates clipped around the last round's center", "radius=3"),
        .. from noise in (double[])[0, 0.001, 0.01, 0.1, 1]
           select Rule(
               "dp-fedavg", $"updates clipped to 3, noise multiplier {noise}", $"clip-norm=3 noise-multiplier={noise} seed=1", noise),
    ];

    /// <param name="variant">What tells the strategy's methods apart in their names; null if it has one.</param>
    private static Method Rule(string strategy, string does, string settings, double? variant = null) =>
        new(variant is null ? strategy : $"{strategy}-{variant}", does)
    {
        Strategy = strategy,
        Settings = settings.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(pair => pair.Split('='))
            .ToDictionary(pair => pair[0], pair => pair[1]),
    };
}
