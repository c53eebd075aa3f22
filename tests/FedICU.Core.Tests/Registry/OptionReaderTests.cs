namespace FedICU.Tests;

/// <summary>
/// How options by name are refused: once each, and also where another option leaves them without effect.
/// </summary>
internal sealed class OptionReaderTests
{
    private static readonly (string Strategy, string[] Needed)[] Needs =
        [("fltrust", ["root=r.safetensors"]), ("dp-fedavg", ["noise-multiplier=1", "clip-norm=1"]), ("dare", ["seed=1"])];

    [TestCase("norm-clip", "Option 'clip-norm' is 'mean'; median or a number was expected.", "clip-norm=mean")]
    [TestCase("dp-fedavg", "Option 'clip-norm' is 'x'; none or a number was expected.", "clip-norm=x", "noise-multiplier=1")]
    [TestCase("dp-fedavg", "Option 'noise-multiplier' is 'x'; a number was expected.", "clip-norm=1", "noise-multiplier=x")]
    [TestCase("dp-fedavg", "Option 'expected-clients' is 'x'; auto or a number was expected.",
        "clip-norm=1", "noise-multiplier=1", "expected-clients=x")]
    [TestCase("dp-fedavg", "Option 'sampling-rate' is 'x'; none or a number was expected.",
        "clip-norm=1", "noise-multiplier=1", "sampling-rate=x", "delta=0.1")]
    [TestCase("dp-fedavg", "Option 'adaptive-clip' is 'x'; false or true was expected.",
        "clip-norm=1", "noise-multiplier=1", "adaptive-clip=x", "quantile=0.2", "count-stddev=2")]
    [TestCase("dp-fedavg", "Option 'clip-norm' is 'x'; none or a number was expected.",
        "clip-norm=x", "noise-multiplier=1", "weighting=share")]
    [TestCase("scaffold", "Option 'local-lr' is 'x'; none or a number was expected.", "control=derived", "local-lr=x")]
    [TestCase("fedadam", "Option 'v-init' is 'x'; tau2 or a number was expected.", "v-init=x")]
    [TestCase("krum", "Option 'byzantine' is '9999999999'; auto or a whole number below 2^31 was expected.", "byzantine=9999999999")]
    [TestCase("fedbuff", "Option 'staleness' is 'linear'; polynomial, hinge or constant was expected.", "staleness=linear")]
    [TestCase("fednova", "Option 'tau-eff' is 'none'; mean, steps or a number was expected.", "tau-eff=none")]
    [TestCase("dp-fedavg", "noise-multiplier is NaN; a finite number of at least 0 was expected.", "clip-norm=1", "noise-multiplier=nan")]
    [TestCase("dp-fedavg", "noise-multiplier is missing; a finite number of at least 0 was expected.", "clip-norm=1")]
    [TestCase("trimmed-mean", "Option 'beta' has no effect beside trim-count.", "beta=0.1", "trim-count=1")]
    [TestCase("dp-fedavg", "Option 'quantile' has no effect without adaptive-clip=true.",
        "clip-norm=1", "noise-multiplier=1", "quantile=0.2")]
    [TestCase("dp-fedavg", "Option 'clip-lr' has no effect without adaptive-clip=true.",
        "clip-norm=1", "noise-multiplier=1", "clip-lr=0.3")]
    [TestCase("dp-fedavg", "Option 'count-stddev' has no effect without adaptive-clip=true.",
        "clip-norm=1", "noise-multiplier=1", "count-stddev=2")]
    [TestCase("dp-fedavg", "Option 'sampling-rate' has no effect without delta.", "clip-norm=1", "noise-multiplier=1", "sampling-rate=0.2")]
    [TestCase("dp-fedavg", "Option 'delta' has no effect without sampling-rate.", "clip-norm=1", "noise-multiplier=1", "delta=0.2")]
    [TestCase("dp-fedavg", "Option 'integers' has no effect beside 'dp-fedavg', which always keeps the global model's integers.",
        "clip-norm=1", "noise-multiplier=1", "integers=mean")]
    [TestCase("scaffold", "Option 'local-lr' has no effect without control=derived.", "local-lr=0.1")]
    [TestCase("scaffold", "Option 'population' has no effect with control-update=mean.", "control-update=mean", "population=9")]
    [TestCase("fedbuff", "Option 'staleness-a' has no effect with staleness=constant.", "staleness=constant", "staleness-a=1")]
    [TestCase("fedbuff", "Option 'staleness-b' has no effect without staleness=hinge.", "staleness-b=1")]
    [TestCase("fedicu", "Option 'tau' has no effect without weights=softmax.", "weights=relu", "tau=1")]
    [TestCase("fedicu,fedadam", "Option 'tau' has no effect without weights=softmax.", "weights=relu", "fedicu.tau=1")]
    public void OneFaultGivesOneSentence(string strategy, string sentence, params string[] settings) => Assert.That(
        () => Create(strategy, settings),
        Throws.TypeOf<InvalidOptionsException>().With.Property("Errors").EqualTo(new[] { sentence }));

    [Test]
    public void AValueThatCannotBeReadHidesNoFaultOfAnotherStrategy() => Assert.That(
        () => Create("fedicu,fedadam", "fedicu.tau=x", "fedadam.tau=0"),
        Throws.TypeOf<InvalidOptionsException>().With.Property("Errors").EqualTo(new[]
        {
            "Option 'tau' is 'x'; a number was expected.", "fedadam: tau is 0; a finite number above 0 was expected.",
        }));

    [Test]
    public void EveryDefaultCanBeTypedOrIsRequired()
    {
        foreach (StrategyDescription strategy in StrategyRegistry.Default.Strategies)
        {
            string[] needed = [.. Needs.Where(needs => needs.Strategy == strategy.Name).SelectMany(needs => needs.Needed)];
            foreach (OptionDescription option in strategy.Options.Concat(StrategyRegistry.RoundOptions))
            {
                bool isNeeded = needed.Any(setting => setting.StartsWith(option.Name + "=", StringComparison.Ordinal));
                if (option.Default == "required")
                {
                    Assert.That(isNeeded, Is.True, $"{strategy.Name}: {option.Name}");
                    continue;
                }

                string[] settings = [.. needed.Where(setting => !isNeeded), $"{option.Name}={option.Default}"];
                string[] errors = FindErrors(strategy.Name, settings);
                Assert.That(
                    errors.Where(error => error.StartsWith($"Option '{option.Name}' is", StringComparison.Ordinal)), Is.Empty,
                    strategy.Name);
            }
        }
    }

    [Test]
    public void AllDefaultsCanBeGivenTogether()
    {
        foreach (StrategyDescription strategy in StrategyRegistry.Default.Strategies)
        {
            string[] needed = [.. Needs.Where(needs => needs.Strategy == strategy.Name).SelectMany(needs => needs.Needed)];
            IEnumerable<string> defaults = strategy.Options
                .Where(option => !needed.Any(setting => setting.StartsWith(option.Name + "=", StringComparison.Ordinal)))
                .Select(option => $"{option.Name}={option.Default}");
            Assert.That(FindErrors(strategy.Name, [.. needed, .. defaults]), Is.Empty, strategy.Name);
        }
    }

    [Test]
    public void ThePrefixesShownAsDefaultAreNone() => Assert.That(
        Create("fedavg", "strip-prefix=" + StrategyRegistry.RoundOptions.Single(option => option.Name == "strip-prefix").Default)
            .Options.StripPrefixes,
        Is.Empty);

    [Test]
    public void NoSeedIsTheDefaultSeed() => Assert.That(
        ((DpFedAvg)Create("dp-fedavg", "clip-norm=1", "noise-multiplier=1", "seed=none").Aggregator.Stages[0]).Options.Seed, Is.Null);

    private static ConfiguredRound Create(string strategy, params string[] settings) =>
        StrategyRegistry.Default.Create(
            strategy, settings.Select(setting => setting.Split('=', 2)).Select(pair => KeyValuePair.Create(pair[0], pair[1])));

    private static string[] FindErrors(string strategy, string[] settings)
    {
        try
        {
            Create(strategy, settings);
            return [];
        }
        catch (InvalidOptionsException e)
        {
            return [.. e.Errors];
        }
    }
}
