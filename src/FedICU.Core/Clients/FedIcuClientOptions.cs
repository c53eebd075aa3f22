using FedICU.Compute;
using FedICU.Registry;
using FedICU.Text;

namespace FedICU;

/// <summary>Options of FedICU's client: importance-aware updating (docs/algorithms.md, FedICU: the client).</summary>
public sealed record FedIcuClientOptions
{
    /// <summary>The literal reading of the paper, whatever the defaults are or become (<c>preset=paper</c>): a hard mask of z-scores, of a momentum.</summary>
    public static FedIcuClientOptions Paper { get; } = new() { Momentum = MomentumRule.Ema, Beta = 0.9, Importance = ImportanceRule.ZScore, Mask = MaskRule.Hard, Fill = MaskFill.Global };

    /// <summary>Ours, not the paper's (<c>preset=balanced</c>): the same mask of this round's update alone, so that a client keeps nothing between rounds.</summary>
    public static FedIcuClientOptions Balanced { get; } = Paper with { Momentum = MomentumRule.None };

    /// <summary>The share of the old momentum, in [0, 1) (<c>beta</c>). <value>Default: 0.9.</value></summary>
    public double Beta { get; init; } = 0.9;

    /// <summary>
    /// What u, the quantity whose magnitude is the update's importance, is made of (<c>momentum</c>). <value>Default: <see cref="MomentumRule.Ema"/> of the momentum that a call
    /// gives; without one, as in a client that keeps none, u is this round's update.</value>
    /// </summary>
    public MomentumRule Momentum { get; init; } = MomentumRule.Ema;

    /// <summary>How magnitudes become importances (<c>importance</c>). <value>Default: <see cref="ImportanceRule.ZScore"/>.</value></summary>
    public ImportanceRule Importance { get; init; }

    /// <summary>A caller's own importance, in place of <see cref="Importance"/>. <value>Default: null.</value></summary>
    public ImportanceFunction? ImportanceFunction { get; init; }

    /// <summary>What is done with the importances (<c>mask</c>). <value>Default: <see cref="MaskRule.Hard"/>.</value></summary>
    public MaskRule Mask { get; init; }

    /// <summary>The share of entries that <see cref="MaskRule.TopRatio"/> sends, in (0, 1], taken as the decimal it is written as. <value>Default: 0.1.</value></summary>
    public double TopRatio { get; init; } = 0.1;

    /// <summary>The noise of <see cref="MaskRule.GaussianNoise"/> in units of std(delta), at least 0 (<c>sigma</c>). <value>Default: 0.01.</value></summary>
    public double Sigma { get; init; } = 0.01;

    /// <summary>What stands where nothing is sent (<c>fill</c>). <value>Default: <see cref="MaskFill.Global"/>.</value></summary>
    public MaskFill Fill { get; init; }

    /// <summary>The key of the noise; the same seed, tensor name and element give the same noise (<c>seed</c>). <value>Default: 0.</value></summary>
    public long Seed { get; init; }

    /// <summary>How many threads compute; no effect on the result. <value>Default: 0, one for each processor.</value></summary>
    public int Threads { get; init; }

    /// <summary>
    /// The number of the present round, kept with the update and the momentum; a momentum of a later round is refused. <value>Default: null, what the trained
    /// model's metadata state, else the received model's.</value>
    /// </summary>
    public long? Round { get; init; }

    /// <summary>The received model's digest, as <see cref="ModelDigest"/> writes it, where it is known: nothing is hashed then. <value>Default: null.</value></summary>
    public string? BaseDigest { get; init; }

    /// <summary>
    /// Told after each tensor, one call at a time, in the phases <c>select</c> and <c>write</c>; small tensors may end out of the model's order.
    /// <value>Default: null.</value>
    /// </summary>
    public IProgress<RoundProgress>? Progress { get; init; }

    /// <summary>Makes the options of names and values (docs/command-line.md, Options for --set).</summary>
    /// <param name="settings">preset (paper | balanced; what the others change), beta, mask (hard | soft | top=r | noise=sigma), momentum (ema | supplied | none), importance, fill, sigma, seed.</param>
    /// <exception cref="InvalidOptionsException">A name or value is wrong; the message lists every error.</exception>
    public static FedIcuClientOptions FromSettings(IEnumerable<KeyValuePair<string, string>> settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        var read = new Settings(settings);
        FedIcuClientOptions options = read.Choice("preset", new FedIcuClientOptions(), ("paper", Paper), ("balanced", Balanced));
        options = options with
        {
            Beta = read.Number("beta", options.Beta),
            Momentum = read.Choice("momentum", options.Momentum, ("ema", MomentumRule.Ema), ("supplied", MomentumRule.Supplied), ("none", MomentumRule.None)),
            Importance = read.Choice("importance", options.Importance,
                ("zscore", ImportanceRule.ZScore), ("minmax", ImportanceRule.MinMax), ("rank", ImportanceRule.Rank)),
            Fill = read.Choice("fill", options.Fill, ("global", MaskFill.Global), ("zero", MaskFill.Zero)),
            Sigma = read.Number("sigma", options.Sigma),
            Seed = read.Integer("seed", options.Seed),
        };
        string? mask = read.Take("mask");
        if (mask is ['t', 'o', 'p', '=', .. string ratio])
            options = options with { Mask = MaskRule.TopRatio, TopRatio = read.ParseNumber("mask=top", ratio, options.TopRatio) };
        else if (mask is ['n', 'o', 'i', 's', 'e', '=', .. string sigma])
            options = options with { Mask = MaskRule.GaussianNoise, Sigma = read.ParseNumber("mask=noise", sigma, options.Sigma) };
        else if (mask is "hard" or "soft" or "noise" or "top")
            options = options with { Mask = mask switch { "hard" => MaskRule.Hard, "soft" => MaskRule.Soft, "top" => MaskRule.TopRatio, _ => MaskRule.GaussianNoise } };
        else if (mask is not null)
            read.Error($"Option 'mask' is '{mask}'; hard, soft, top=RATIO or noise=SIGMA was expected.");
        read.Finish(options.Validate);
        return options;
    }

    internal void Validate()
    {
        var errors = new List<string>();
        if (!(Beta is >= 0 and < 1))
            errors.Add($"beta is {Numbers.Invariant(Beta)}; a number from 0 up to, but not, 1 was expected.");
        if (!(TopRatio is > 0 and <= 1))
            errors.Add($"top is {Numbers.Invariant(TopRatio)}; a number above 0, at most 1, was expected.");
        if (!(Sigma >= 0 && double.IsFinite(Sigma)))
            errors.Add($"sigma is {Numbers.Invariant(Sigma)}; a finite number of at least 0 was expected.");
        if (Threads < 0)
            errors.Add($"threads is {Threads}; 0 (one for each processor) or more was expected.");
        if (BaseDigest is not null && !ModelDigest.IsDigest(BaseDigest))
            errors.Add($"base digest is {Sentence.Quote(BaseDigest)}; sha256: and 64 lower-case hexadecimal digits were expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }
}
