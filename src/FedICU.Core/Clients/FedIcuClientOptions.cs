using FedICU.Compute;
using FedICU.Registry;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Options of FedICU's client, importance-aware updating. docs/algorithms.md (FedICU: the client) sets every formula
/// beside the code.
/// </summary>
/// <remarks>
/// <para>theta_g is the received model and theta_k the trained model. With the default options:</para>
/// <code>
/// delta = theta_k - theta_g                                      update
/// u = beta momentum + (1 - beta) delta                           new momentum; without an old one, u = delta
/// imp(x) = sigmoid((|x| - mean|x|) / std|x|)                     importance, for each tensor
/// sent: theta_k where imp(u) > imp(theta_g)                      hard mask; the others keep theta_g
/// </code>
/// <para>
/// The momentum, the normalization, the mask and the sparse update are known from the paper's figure and abstract.
/// Their details and all defaults are our own choices. The name in parentheses is that of <c>--set</c> and
/// <see cref="FromSettings"/>.
/// </para>
/// </remarks>
public sealed record FedIcuClientOptions
{
    /// <summary>
    /// Gets the literal reading of the paper (<c>preset=paper</c>): a hard mask from z-scores of a momentum. It stays
    /// the same if the defaults change.
    /// </summary>
    public static FedIcuClientOptions Paper { get; } = new()
    {
        Momentum = MomentumRule.Ema,
        Beta = 0.9,
        Importance = ImportanceRule.ZScore,
        Mask = MaskRule.Hard,
        Fill = MaskFill.Global,
    };

    /// <summary>
    /// Gets our variant (<c>preset=balanced</c>), which is not the paper's: the same mask, computed from this round's
    /// update alone. The client then keeps nothing between rounds. Use it with <see cref="FedIcuOptions.Balanced"/> at
    /// the server.
    /// </summary>
    public static FedIcuClientOptions Balanced { get; } = Paper with { Momentum = MomentumRule.None };

    /// <summary>
    /// Gets the share of the old momentum in u = beta momentum + (1 - beta) delta, at least 0 and below 1
    /// (<c>beta</c>). <value>Default: 0.9.</value>
    /// </summary>
    public double Beta { get; init; } = 0.9;

    /// <summary>
    /// Gets how u is computed (<c>momentum</c>). <value>Default: <see cref="MomentumRule.Ema"/>. If the call has no
    /// momentum, u is this round's delta.</value>
    /// </summary>
    public MomentumRule Momentum { get; init; } = MomentumRule.Ema;

    /// <summary>
    /// Gets how the magnitudes |u| and |theta_g| become importances (<c>importance</c>).
    /// <value>Default: <see cref="ImportanceRule.ZScore"/>, after the same authors' SPIDER (ICML 2025).</value>
    /// </summary>
    public ImportanceRule Importance { get; init; }

    /// <summary>
    /// Gets a function that computes importances instead of <see cref="Importance"/>. It gets a whole tensor at a time.
    /// <value>Default: null.</value>
    /// </summary>
    public ImportanceFunction? ImportanceFunction { get; init; }

    /// <summary>
    /// Gets how the importances decide what is sent (<c>mask</c>). <value>Default: <see cref="MaskRule.Hard"/>.</value>
    /// </summary>
    public MaskRule Mask { get; init; }

    /// <summary>
    /// Gets the ratio of entries that <see cref="MaskRule.TopRatio"/> sends, above 0 and at most 1
    /// (<c>mask=top=RATIO</c>). It is taken as the decimal number it is written as: 0.07 of 100 entries is 7.
    /// <value>Default: 0.1.</value>
    /// </summary>
    public double TopRatio { get; init; } = 0.1;

    /// <summary>
    /// Gets the standard deviation of the noise of <see cref="MaskRule.GaussianNoise"/> in units of std(delta), finite
    /// and at least 0 (<c>sigma</c>, or <c>mask=noise=SIGMA</c>). <value>Default: 0.01.</value>
    /// </summary>
    public double Sigma { get; init; } = 0.01;

    /// <summary>
    /// Gets the value of the entries that are not sent (<c>fill</c>).
    /// <value>Default: <see cref="MaskFill.Global"/>.</value>
    /// </summary>
    public MaskFill Fill { get; init; }

    /// <summary>
    /// Gets the seed of the noise (<c>seed</c>). The noise depends only on the seed, the tensor's name and the
    /// element's index. <value>Default: 0.</value>
    /// </summary>
    public long Seed { get; init; }

    /// <summary>
    /// Gets how many threads compute. It has no effect on the result. <value>Default: 0, one for each CPU.</value>
    /// </summary>
    public int Threads { get; init; }

    /// <summary>
    /// Gets the number of the present round, which is written into the update and the momentum. A momentum of a later
    /// round is refused. <value>Default: null, the round in the trained model's metadata, else in the received
    /// model's.</value>
    /// </summary>
    public long? Round { get; init; }

    /// <summary>
    /// Gets the received model's digest, as <see cref="ModelDigest"/> computes it. If it is given, the model is not
    /// hashed. <value>Default: null.</value>
    /// </summary>
    public string? BaseDigest { get; init; }

    /// <summary>
    /// Gets the listener for progress, which is called after each tensor in the phases <c>select</c> and <c>write</c>,
    /// one call at a time. Small tensors may finish out of the model's order. <value>Default: null.</value>
    /// </summary>
    public IProgress<RoundProgress>? Progress { get; init; }

    /// <summary>Creates options from names and values (docs/command-line.md, Options for --set).</summary>
    /// <param name="settings">
    /// Any of: preset (paper | balanced; the other settings change it), beta, mask (hard | soft | top=RATIO |
    /// noise=SIGMA), momentum (ema | supplied | none), importance (zscore | minmax | rank), fill (global | zero),
    /// sigma, seed.
    /// </param>
    /// <exception cref="InvalidOptionsException">A name or a value is wrong; the message lists all errors.</exception>
    public static FedIcuClientOptions FromSettings(IEnumerable<KeyValuePair<string, string>> settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        var read = new OptionReader(settings);
        FedIcuClientOptions options = read.Choice(
            "preset", new FedIcuClientOptions(), "Options that others change: the paper's, or our variant.",
            ("paper", Paper), ("balanced", Balanced));
        options = options with
        {
            Beta = read.Number("beta", options.Beta, "The decay of the momentum u of the updates."),
            Momentum = read.Choice(
                "momentum", options.Momentum, "Where the momentum is from.",
                ("ema", MomentumRule.Ema), ("supplied", MomentumRule.Supplied), ("none", MomentumRule.None)),
            Importance = read.Choice(
                "importance", options.Importance, "How magnitudes become importances.",
                ("zscore", ImportanceRule.ZScore), ("minmax", ImportanceRule.MinMax), ("rank", ImportanceRule.Rank)),
            Fill = read.Choice(
                "fill", options.Fill, "What entries that are not sent become.",
                ("global", MaskFill.Global), ("zero", MaskFill.Zero)),
            Sigma = read.Number("sigma", options.Sigma, "The noise of unimportant entries, in standard deviations of the update."),
            Seed = read.Integer("seed", options.Seed, "The seed of the noise."),
        };
        options = ReadMask(read, options);
        read.Try(options.Validate);
        read.Finish();
        return options;
    }

    private static FedIcuClientOptions ReadMask(OptionReader read, FedIcuClientOptions options)
    {
        switch (read.Text("mask", "hard, soft, top=RATIO, noise=SIGMA", "Which entries are sent."))
        {
            case null:
                return options;
            case "hard":
                return options with { Mask = MaskRule.Hard };
            case "soft":
                return options with { Mask = MaskRule.Soft };
            case "top":
                return options with { Mask = MaskRule.TopRatio };
            case "noise":
                return options with { Mask = MaskRule.GaussianNoise };
            case ['t', 'o', 'p', '=', .. string ratio]:
                return options with { Mask = MaskRule.TopRatio, TopRatio = read.ParseNumber("mask=top", ratio, options.TopRatio) };
            case ['n', 'o', 'i', 's', 'e', '=', .. string sigma]:
                return options with { Mask = MaskRule.GaussianNoise, Sigma = read.ParseNumber("mask=noise", sigma, options.Sigma) };
            case var other:
                read.Error($"Option 'mask' is '{other}'; hard, soft, top=RATIO or noise=SIGMA was expected.");
                return options;
        }
    }

    internal void Validate()
    {
        var errors = new List<string>();
        if (!(Beta is >= 0 and < 1))
            errors.Add($"beta is {Numbers.Invariant(Beta)}; a number of at least 0 and below 1 was expected.");
        if (!(TopRatio is > 0 and <= 1))
            errors.Add($"top is {Numbers.Invariant(TopRatio)}; a number above 0 and at most 1 was expected.");
        if (!(Sigma >= 0 && double.IsFinite(Sigma)))
            errors.Add($"sigma is {Numbers.Invariant(Sigma)}; a finite number of at least 0 was expected.");
        if (!Enum.IsDefined(Mask))
            errors.Add($"mask is {(int)Mask}; a mask rule was expected.");
        if (Threads < 0)
            errors.Add($"threads is {Threads}; 0 (one for each CPU) or more was expected.");
        if (BaseDigest is not null && !ModelDigest.IsDigest(BaseDigest))
            errors.Add($"base digest is {Sentence.Quote(BaseDigest)}; sha256: and 64 lower-case hexadecimal digits were expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }
}
