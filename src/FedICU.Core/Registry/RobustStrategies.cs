using FedICU.Strategies.Abstractions;

namespace FedICU.Registry;

/// <summary>The library's rules against hostile and faulty clients.</summary>
internal static class RobustStrategies
{
    public static IReadOnlyList<StrategyDescription> All { get; } =
    [
        new("median", "The median of each element.", "Yin et al. 2018", _ => () => [new Median()]),
        new("trimmed-mean", "The mean of each element without its smallest and largest values.", "Yin et al. 2018", reader =>
        {
            var defaults = new TrimmedMeanOptions();
            var options = new TrimmedMeanOptions
            {
                Beta = reader.Number("beta", defaults.Beta, "The share of the clients dropped at each end, in [0, 0.5)."),
                TrimCount = reader.CountOr("trim-count", null, "auto", "The number of values dropped at each end; auto: beta's share."),
            };
            reader.RefuseUnused("beta", options.TrimCount is null, "beside trim-count");
            return () => [new TrimmedMean(options)];
        }),
        new("krum", "The model of the client whose neighbours are nearest.", "Blanchard et al. 2017", reader =>
        {
            var options = new KrumOptions { Byzantine = ReadByzantine(reader) };
            return () => [new Krum(options)];
        }),
        new("multi-krum", "The mean of the clients whose neighbours are nearest.", "Blanchard et al. 2017", reader =>
        {
            var options = new MultiKrumOptions
            {
                Byzantine = ReadByzantine(reader),
                Select = reader.CountOr("select", null, "auto", "The number of clients averaged; auto: max(1, N - byzantine - 2)."),
                Weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Uniform),
            };
            return () => [new MultiKrum(options)];
        }),
        new("bulyan", "Selects clients by Krum, then averages the values closest to their median.", "El Mhamdi et al. 2018", reader =>
        {
            var options = new BulyanOptions
            {
                Byzantine = ReadByzantine(reader),
                Selection = reader.Choice(
                    "selection", BulyanSelectionRule.Iterative, "Whether clients are scored again after each selection, or once.",
                    ("iterative", BulyanSelectionRule.Iterative), ("once", BulyanSelectionRule.Once)),
            };
            return () => [new Bulyan(options), new BulyanMean()];
        }),
        new("geometric-median", "Weighs clients so that their mean nears the geometric median.", "Pillutla et al. 2022", reader =>
        {
            var defaults = new GeometricMedianOptions();
            var options = new GeometricMedianOptions
            {
                Nu = reader.Number("nu", defaults.Nu, "The smallest distance that a weight is divided by, above 0."),
                Iterations = ReadCount(reader, "iterations", defaults.Iterations, "The most iterations, at least 1."),
                Tolerance = reader.Number("tolerance", defaults.Tolerance, "The relative change that ends the iteration, at least 0."),
                Weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Share),
            };
            return () => [new GeometricMedian(options)];
        }),
        new("norm-clip", "Shortens updates to a largest norm.", "Sun et al. 2019", reader =>
        {
            var defaults = new NormClipOptions();
            var options = new NormClipOptions
            {
                ClipNorm = reader.NumberOr("clip-norm", null, "median", "The largest norm, above 0; median: that of the clients' norms."),
                ServerLearningRate = ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Share),
            };
            return () => [new NormClip(options)];
        }),
        new("norm-filter", "Leaves out the clients of the largest updates.", "Gupta and Vaidya 2020", reader =>
        {
            var options = new NormFilterOptions
            {
                Byzantine = ReadCount(reader, "byzantine", new NormFilterOptions().Byzantine, "How many are left out, at least 0."),
                Weighting = LibraryStrategies.ReadWeighting(reader, Weighting.Uniform),
            };
            return () => [new NormFilter(options)];
        }),
        new("fltrust", "Weighs clients by how far they agree with the server's own update.", "Cao et al. 2021", reader =>
        {
            string? root = reader.Text(
                "root", "file", OptionDescription.Required, "The model that the server trained on its own clean data.");
            double rate = ReadServerLearningRate(reader, 1);
            return () => [new FlTrust(new FlTrustOptions { Root = root ?? "", ServerLearningRate = rate })];
        }),
        new("centered-clip", "Clips updates around the center of the round before, with a state.", "Karimireddy et al. 2021", reader =>
        {
            var defaults = new CenteredClipOptions();
            var options = new CenteredClipOptions
            {
                Radius = reader.Number("radius", defaults.Radius, "The largest distance to the center, above 0."),
                Iterations = ReadCount(reader, "iterations", defaults.Iterations, "The number of iterations, at least 1."),
                ServerLearningRate = ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Weighting = LibraryStrategies.ReadWeighting(reader, defaults.Weighting),
            };
            return () => [new CenteredClip(options), new CenteredClipStep(options)];
        }),
        new("dp-fedavg", "Clipped updates with Gaussian noise: differential privacy.", "McMahan et al. 2018", ReadDpFedAvg),
    ];

    /// <summary>Reads the server's learning rate.</summary>
    public static double ReadServerLearningRate(OptionReader reader, double defaultValue) =>
        reader.Number("server-lr", defaultValue, "The server's learning rate eta, above 0.");

    private static Func<IReadOnlyList<Stage>> ReadDpFedAvg(OptionReader reader)
    {
        double? multiplier = reader.RequiredNumber("noise-multiplier", "The noise's deviation over the norm, at least 0.");
        var options = new DpFedAvgOptions
        {
            NoiseMultiplier = multiplier ?? 0,
            ClipNorm = reader.NumberOr("clip-norm", null, "none", "The largest norm, above 0; required without adaptive-clip."),
            ExpectedClients = reader.NumberOr("expected-clients", null, "auto", "What sums are divided by; auto: the clients that came."),
            Seed = reader.IntegerOr("seed", "none", "The seed of the noise; none: from the operating system."),
            AdaptiveClip = reader.Flag("adaptive-clip", false, "Whether the norm follows a quantile of the clients' norms."),
            Quantile = reader.Number("quantile", 0.5, "The share of clients that is not clipped, from 0 to 1; with adaptive-clip."),
            ClipLearningRate = reader.Number("clip-lr", 0.2, "How fast the norm follows, above 0; with adaptive-clip."),
            CountStandardDeviation = reader.NumberOr("count-stddev", null, "auto", "The noise on the count; auto: expected-clients / 20."),
            ServerLearningRate = ReadServerLearningRate(reader, 1),
            SamplingRate = reader.NumberOr("sampling-rate", null, "none", "How likely a client takes part; gives epsilon."),
            Delta = reader.NumberOr("delta", null, "none", "delta of the guarantee, between 0 and 1."),
        };
        reader.RefuseUnused("quantile", options.AdaptiveClip, "without adaptive-clip=true");
        reader.RefuseUnused("clip-lr", options.AdaptiveClip, "without adaptive-clip=true");
        return () =>
        {
            OptionErrors errors = options.FindErrors();
            if (multiplier is null)
                errors.Add("noise-multiplier is missing; a finite number of at least 0 was expected.");
            errors.Throw();
            return [new DpFedAvg(options), new DpNoise()];
        };
    }

    private static int? ReadByzantine(OptionReader reader) => reader.CountOr(
        "byzantine", null, "auto", "The number of hostile clients to bear; auto: the most that N clients bear.");

    private static int ReadCount(OptionReader reader, string name, int defaultValue, string summary)
    {
        long value = reader.Integer(name, defaultValue, summary);
        if (value is >= int.MinValue and <= int.MaxValue)
            return (int)value;
        reader.Error($"Option '{name}' is '{value}'; a whole number below 2^31 was expected.");
        return defaultValue;
    }
}
