using FedICU.Registry;

namespace FedICU.Tests;

/// <summary>Options set by name and by record: defaults, values and errors.</summary>
internal sealed class OptionsTests
{
    private static Dictionary<string, string> Settings(params string[] pairs) =>
        pairs.Select(pair => pair.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]);

    [Test]
    public void EverySettingReachesItsOption()
    {
        ConfiguredRound made = StrategyRegistry.Default.Create("fedicu", Settings(
            "eps=1e-9", "axis=rows", "similarity=previous", "granularity=model", "weights=relu", "times-share=true",
            "consensus=share", "target=delta", "coherence=0.5",
            "quorum=3", "on-nonfinite=drop-client", "on-missing=drop-tensor", "on-extra=drop-tensor", "on-shape=drop-client",
            "on-dtype=drop-tensor", "on-base=drop-client",
            "on-unreadable=drop-client", "integers=keep", "balance=true"));
        Assert.That(Options(made), Is.EqualTo(new FedIcuOptions
        {
            Epsilon = 1e-9,
            Axis = NormAxis.Rows,
            Similarity = Similarity.PreviousDirection,
            Granularity = Granularity.Model,
            Weights = WeightRule.Relu,
            TimesShare = true,
            Consensus = ConsensusRule.Share,
            Target = SplitTarget.Delta,
            Coherence = 0.5,
            BalanceLora = true,
        }));
        Assert.That(made.Options, Is.EqualTo(new RoundOptions
        {
            Quorum = 3,
            OnNonFinite = FaultPolicy.DropClient,
            OnMissing = FaultPolicy.DropTensor,
            OnExtra = FaultPolicy.DropTensor,
            OnShape = FaultPolicy.DropClient,
            OnDType = FaultPolicy.DropTensor,
            OnBase = FaultPolicy.DropClient,
            OnUnreadable = FaultPolicy.DropClient,
            Integers = IntegerRule.Keep,
        }));
        StageAggregator aggregator = StrategyRegistry.Default.Create("fedprox", Settings("mu=0.5")).Aggregator;
        Assert.That(((FedProx)aggregator.Stages[0]).Options.Mu, Is.EqualTo(0.5));
        Assert.That(FedIcuClientOptions.FromSettings(
            Settings("beta=0.5", "mask=top=0.25", "momentum=none", "importance=rank", "fill=zero", "seed=-4", "sigma=2")),
            Is.EqualTo(new FedIcuClientOptions
            {
                Beta = 0.5,
                Mask = MaskRule.TopRatio,
                TopRatio = 0.25,
                Momentum = FedICU.Compute.MomentumRule.None,
                Importance = ImportanceRule.Rank,
                Fill = MaskFill.Zero,
                Seed = -4,
                Sigma = 2,
            }));
    }

    [Test]
    public void WithoutSettingsTheDefaultsHold()
    {
        Assert.That(
            StrategyRegistry.Default.Names,
            Is.EqualTo(new[]
            {
                "fedavg", "fedprox", "fedicu", "median", "trimmed-mean", "krum", "multi-krum", "bulyan", "geometric-median", "norm-clip",
                "norm-filter", "fltrust", "centered-clip", "dp-fedavg", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fednova",
                "scaffold", "feddyn", "qfedavg", "fedbuff", "ffa-lora", "fedex-lora", "flora", "hetlora",
                "task-arithmetic", "ties", "dare", "breadcrumbs", "slerp", "ema", "balance", "flexlora",
            }));
        Assert.That(Options(StrategyRegistry.Default.Create("fedicu", [])), Is.EqualTo(new FedIcuOptions()));
        Assert.That(FedIcuClientOptions.FromSettings([]), Is.EqualTo(new FedIcuClientOptions()));
        Assert.That(new FedIcuOptions(), Is.EqualTo(new FedIcuOptions { Tau = 0.1, Epsilon = 1e-12 }));
        Assert.That(new FedProxOptions().Mu, Is.EqualTo(0.01));
        Assert.That(new FedIcuClientOptions().Beta, Is.EqualTo(0.9));
    }

    [Test]
    public void SettingsOverrideThePreset()
    {
        Assert.That(Server("preset=paper"), Is.EqualTo(new FedIcuOptions { Tau = 0.1, Target = SplitTarget.Parameters, Coherence = 0 }));
        Assert.That(Server("preset=balanced"),
            Is.EqualTo(new FedIcuOptions
            {
                Tau = double.PositiveInfinity,
                Target = SplitTarget.Delta,
                Coherence = 0.5,
                BalanceLora = true,
            }));
        Assert.That(Server("axis=tensor", "preset=balanced", "tau=0.5"),
            Is.EqualTo(FedIcuOptions.Balanced with { Axis = NormAxis.Tensor, Tau = 0.5 }));
        Assert.That(FedIcuClientOptions.FromSettings(Settings("preset=paper")),
            Is.EqualTo(new FedIcuClientOptions { Momentum = FedICU.Compute.MomentumRule.Ema, Beta = 0.9, Mask = MaskRule.Hard }));
        Assert.That(FedIcuClientOptions.FromSettings(Settings("mask=top=0.25", "preset=balanced")),
            Is.EqualTo(new FedIcuClientOptions { Momentum = FedICU.Compute.MomentumRule.None, Mask = MaskRule.TopRatio, TopRatio = 0.25 }));
        Assert.That(Assert.Throws<InvalidOptionsException>(() => Server("preset=best"))!.Message,
            Does.Contain("Option 'preset' is 'best'; paper or balanced was expected."));
        ConfiguredRound balanced = StrategyRegistry.Default.Create("fedicu", Settings("preset=balanced"));
        Assert.That(Options(balanced), Is.EqualTo(FedIcuOptions.Balanced));
        Assert.That(balanced.Aggregator.Name, Is.EqualTo("fedicu,balance"));
        Assert.That(
            StrategyRegistry.Default.Create("fedicu", Settings("preset=balanced", "balance=false")).Aggregator.Name, Is.EqualTo("fedicu"));
        Assert.That(FedIcuClientOptions.FromSettings(Settings("preset=balanced")), Is.EqualTo(FedIcuClientOptions.Balanced));

        static FedIcuOptions Server(params string[] settings) =>
            Options(StrategyRegistry.Default.Create("fedicu", Settings(settings)));
    }

    private static FedIcuOptions Options(ConfiguredRound round) => round.Aggregator.Stages.OfType<FedIcu>().Single().Options;

    [Test]
    public void AllErrorsAreReportedAtOnce()
    {
        InvalidOptionsException wrong = Assert.Throws<InvalidOptionsException>(
            () => StrategyRegistry.Default.Create("fedicu", Settings(
                "tau=0", "coherence=2", "eps=-1", "axis=diagonal", "tua=3", "quorum=0", "on-base=drop-tensor", "times-share=maybe")))!;
        Assert.That(wrong.Errors, Is.EquivalentTo(new[]
        {
            "Option 'axis' is 'diagonal'; columns, rows or tensor was expected.",
            "Option 'times-share' is 'maybe'; false or true was expected.",
            "Option 'tua' is unknown; did you mean 'tau'? axis, balance, coherence, consensus, eps, granularity, integers, " +
            "max-similarity-clients, max-weight, on-base, on-changed, " +
            "on-config, on-dtype, on-extra, on-missing, on-nonfinite, on-quantized, on-shape, on-stale, on-statement, " +
            "on-unreadable, on-weight, " +
            "preset, quorum, similarity, strip-prefix, target, tau, times-share, weights are known here.",
            "tau is 0; a number greater than 0, or inf, was expected.",
            "coherence is 2; a number from 0 to 1 was expected.",
            "eps is -1; a finite number of at least 0 was expected.",
            "quorum is 0; at least 1 was expected.",
            "Option 'on-base' is 'drop-tensor'; reject or drop-client was expected.",
        }));
        Assert.That(Assert.Throws<InvalidOptionsException>(
            () => FedIcuClientOptions.FromSettings(Settings("beta=1", "mask=thin", "sigma=x", "seed=1.5")))!.Errors, Has.Count.EqualTo(4));
        Assert.That(() => StrategyRegistry.Default.Create("fedicu", Settings("tau=0,1")), Throws.TypeOf<InvalidOptionsException>(),
            "numbers are read in the invariant culture");
        Assert.That(
            () => StrategyRegistry.Default.Create("fedsgd", []),
            Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("'fedsgd'"));
        Assert.That(() => new FedIcuAggregator(new FedIcuOptions { Tau = double.NaN }), Throws.TypeOf<InvalidOptionsException>());
        Assert.That(() => new FedProxAggregator(new FedProxOptions { Mu = -1 }), Throws.TypeOf<InvalidOptionsException>());
    }
}
