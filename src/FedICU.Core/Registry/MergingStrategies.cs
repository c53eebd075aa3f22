namespace FedICU.Registry;

/// <summary>The library's rules that merge models by their updates.</summary>
internal static class MergingStrategies
{
    public static IReadOnlyList<StrategyDescription> All { get; } =
    [
        new("task-arithmetic", "Adds the weighted sum of the updates.", "Ilharco et al. 2023", reader =>
        {
            var options = new TaskArithmeticOptions
            {
                Scale = ReadScale(reader),
                Weighting = ReadWeighting(reader),
                Space = reader.Choice("space", MergeSpace.Factors, "What is added up for LoRA pairs: the factors, or the products.",
                    ("factors", MergeSpace.Factors), ("product", MergeSpace.Product)),
                LoraScaling = LoraRules.ReadScaling(reader),
            };
            return () => [TaskArithmetic.Create(options)];
        }),
        new("ties", "Keeps the largest entries of each update and averages those of the elected sign.", "Yadav et al. 2023", reader =>
        {
            var defaults = new TiesOptions();
            var options = new TiesOptions
            {
                Density = ReadDensity(reader, defaults.Density),
                TrimScope = reader.Choice("trim-scope", defaults.TrimScope, "Whether the largest entries are a tensor's or the model's.",
                    ("tensor", TrimScope.Tensor), ("model", TrimScope.Model)),
                Elect = ReadElect(reader, defaults.Elect),
                ElectWeights = ReadElectWeights(reader, defaults.ElectWeights),
                Disjoint = ReadDisjoint(reader, defaults.Disjoint),
                Scale = ReadScale(reader),
                Weighting = ReadWeighting(reader),
            };
            RefuseElection(reader, options.Elect == ElectRule.Sum, "with elect=count", "elect-weights");
            return () => [new Ties(options)];
        }),
        new("dare", "Drops random entries of each update and rescales the others.", "Yu et al. 2024", reader =>
        {
            var defaults = new DareOptions();
            var options = new DareOptions
            {
                Density = reader.Number("density", defaults.Density, "How likely an entry stays, in (0, 1]."),
                Seed = reader.RequiredInteger("seed", "The seed of the masks."),
                Merge = reader.Choice("merge", defaults.Merge, "Whether what is left is added up, or merged as in ties.",
                    ("linear", DareMerge.Linear), ("ties", DareMerge.Ties)),
                Rescale = reader.Choice(
                    "rescale", defaults.Rescale, "Whether what is left is divided by the density, keeps the L1 norm, or stays as it is.",
                    ("density", DareRescale.Density), ("l1", DareRescale.L1), ("none", DareRescale.None)),
                Elect = ReadElect(reader, defaults.Elect),
                ElectWeights = ReadElectWeights(reader, defaults.ElectWeights),
                Disjoint = ReadDisjoint(reader, defaults.Disjoint),
                Scale = ReadScale(reader),
                Weighting = ReadWeighting(reader),
            };
            RefuseElection(reader, options.Merge == DareMerge.Ties, "without merge=ties", "elect", "elect-weights", "disjoint");
            RefuseElection(reader, options.Elect == ElectRule.Sum, "with elect=count", "elect-weights");
            return () => [new Dare(options)];
        }),
        new("breadcrumbs", "Drops the smallest and the largest entries of each update.", "Davari and Belilovsky 2023", reader =>
        {
            var defaults = new BreadcrumbsOptions();
            var options = new BreadcrumbsOptions
            {
                Density = ReadDensity(reader, defaults.Density),
                Gamma = reader.Number("gamma", defaults.Gamma, "The share of the entries that are dropped as the largest, in [0, 1)."),
                Scale = ReadScale(reader),
                Weighting = ReadWeighting(reader),
            };
            return () => [new Breadcrumbs(options)];
        }),
        new("slerp", "Interpolates two models on a sphere.", "Shoemake 1985", reader =>
        {
            var defaults = new SlerpOptions();
            string? t = reader.Text("t", "share, number", "0.5", "The way from the first model to the second, in [0, 1].");
            var options = new SlerpOptions
            {
                T = t switch
                {
                    null => defaults.T,
                    "share" => null,
                    _ => reader.ParseNumber("t", t, 0, "share or a number"),
                },
                LerpAbove = reader.Number(
                    "lerp-above", defaults.LerpAbove, "The magnitude of the cosine above which the way is a line, in [0, 1]."),
                Target = reader.Choice("target", defaults.Target, "Whether parameters or updates are interpolated.",
                    ("parameters", UpdateForm.Parameters), ("delta", UpdateForm.Delta)),
            };
            return () => [new Slerp(options)];
        }),
        new("ema", "Keeps the moving average of the models, with a state.", "", reader =>
        {
            var defaults = new EmaOptions();
            var options = new EmaOptions
            {
                Decay = reader.Number("decay", defaults.Decay, "The decay of the average, in [0, 1)."),
                Output = reader.Choice("output", defaults.Output, "Whether the round writes the merged model, or the average.",
                    ("model", EmaOutput.Model), ("ema", EmaOutput.Ema)),
            };
            return () => [new Ema(options)];
        }),
    ];

    private static double ReadDensity(OptionReader reader, double defaultValue) =>
        reader.Number("density", defaultValue, "The share of an update's entries that stay, in (0, 1].");

    private static double ReadScale(OptionReader reader) => reader.Number("scale", 1, "The factor of the merged update.");

    private static ElectRule ReadElect(OptionReader reader, ElectRule defaultValue) => reader.Choice(
        "elect", defaultValue, "Whether the sign is that of the sum, or that of more updates.",
        ("sum", ElectRule.Sum), ("count", ElectRule.Count));

    private static bool ReadElectWeights(OptionReader reader, bool defaultValue) =>
        reader.Flag("elect-weights", defaultValue, "Whether the clients' weights count in the sum that decides the sign.");

    private static DisjointRule ReadDisjoint(OptionReader reader, DisjointRule defaultValue) => reader.Choice(
        "disjoint", defaultValue, "What the agreeing entries' sum is divided by: their weights, their number, or nothing.",
        ("mean", DisjointRule.Mean), ("count", DisjointRule.Count), ("sum", DisjointRule.Sum));

    private static void RefuseElection(OptionReader reader, bool hasEffect, string reason, params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
            reader.RefuseUnused(name, hasEffect, reason);
    }

    private static MergeWeighting ReadWeighting(OptionReader reader) => reader.Choice(
        "weighting", MergeWeighting.Share, "How the clients weigh: by their shares, all the same, by n_k itself, or 1 each.",
        ("share", MergeWeighting.Share), ("uniform", MergeWeighting.Uniform), ("raw", MergeWeighting.Raw), ("one", MergeWeighting.One));
}
