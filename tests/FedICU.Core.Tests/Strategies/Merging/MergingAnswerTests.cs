using FedICU.Compute;

namespace FedICU.Tests;

/// <summary>Known answers of the merging rules, from an independent float64 implementation.</summary>
internal sealed class MergingAnswerTests
{
    private const double Tolerance = 5e-9;

    private static readonly double[][] Updates = [[4, -1, 2, 0, .5], [-3, -2, 2, 1, 0], [1, 5, -1, 0, -.5]];

    [Test]
    public void TaskArithmetic() => Assert.That(
        Merge(new TaskArithmeticAggregator(new TaskArithmeticOptions { Scale = .5, Weighting = MergeWeighting.One })),
        Is.EqualTo(new[] { 1, 1, 1.5, .5, 0 }));

    private static IEnumerable<TestCaseData> TiesCases =>
    [
        new TestCaseData(new TiesOptions(), new double[] { -3, 5, 2, 0, 0 }).SetName("ASumOf0IsPositive"),
        new TestCaseData(new TiesOptions { Weighting = MergeWeighting.Uniform }, new[] { 2.5, 5, 2, 0, 0 }).SetName("TiesUniform"),
        new TestCaseData(new TiesOptions { Elect = ElectRule.Count }, new[] { 2.5, -1.66666667, 2, 0, 0 }).SetName("TiesElectCount"),
        new TestCaseData(new TiesOptions { Disjoint = DisjointRule.Count }, new[] { -1.5, 1.25, .75, 0, 0 }).SetName("TiesDisjointCount"),
        new TestCaseData(new TiesOptions { Disjoint = DisjointRule.Sum }, new[] { -1.5, 1.25, 1.5, 0, 0 }).SetName("TiesDisjointSum"),
        new TestCaseData(
            new TiesOptions { Weighting = MergeWeighting.Uniform, ElectWeights = false, Disjoint = DisjointRule.Count },
            new[] { .83333333, 1.66666667, .66666667, 0, 0 }).SetName("TiesAsInPeft"),
    ];

    [TestCaseSource(nameof(TiesCases))]
    public void Ties(TiesOptions options, double[] expected) =>
        Assert.That(Merge(new TiesAggregator(options with { Density = .6 })), Is.EqualTo(expected).Within(Tolerance));

    [Test]
    public void Dare()
    {
        Assert.That(Merge(new DareAggregator(new DareOptions { Seed = 7 })), Is.EqualTo(new[] { -2.5, 0, 2.5, 1, -.25 }));
        var numbers = new UniformNumbers(new Philox(7, "w", "dare", 0));
        Assert.That(
            Enumerable.Range(0, 5).Select(i => numbers[i]),
            Is.EqualTo(new[] { .97386241, .21008162, .42364220, .97336940, .93673560 }).Within(Tolerance));
    }

    [Test]
    public void Breadcrumbs() => Assert.That(
        Merge(new BreadcrumbsAggregator(new BreadcrumbsOptions { Density = .6, Gamma = .2 })),
        Is.EqualTo(new[] { .25, -1.25, 1.25, .5, 0 }));

    [TestCase(0, 2, .92387953, .76536686)]
    [TestCase(-2, .01, .25, .0025, Description = "nearly opposite: on the line")]
    public void Slerp(double first, double second, double expectedFirst, double expectedSecond) => Assert.That(
        Merge(new SlerpAggregator(new SlerpOptions { T = .25 }), [1, 1], [1, 0], [first, second]),
        Is.EqualTo(new[] { expectedFirst, expectedSecond }).Within(Tolerance));

    [TestCase(3, 4, 3, Description = "the same")]
    [TestCase(-3, -4, 1.5, Description = "opposite")]
    public void SlerpWithoutAnAngleIsTheLine(double first, double second, double expected) => Assert.That(
        Merge(new SlerpAggregator(new SlerpOptions { T = .25, LerpAbove = 1 }), [1, 1], [3, 4], [first, second])[0],
        Is.EqualTo(expected).Within(Tolerance));

    [Test]
    public void Ema()
    {
        using RoundState state = RoundState.InMemory();
        double[] first = Run(new EmaAggregator(new EmaOptions { Decay = .9 }), state);
        Assert.That(first, Is.EqualTo(new[] { 2, -1.75 }));
        Assert.That(state.Memory!.Model.ToArray<double>("w#ema"), Is.EqualTo(first), "the first average is the model");
        using RoundState later = FamilyKnownAnswerTests.State("ema", 3, ("w#ema", [0, 0]));
        Assert.That(Run(new EmaAggregator(new EmaOptions { Decay = .9 }), later), Is.EqualTo(new[] { 2, -1.75 }));
        Assert.That(later.Memory!.Model.ToArray<double>("w#ema"), Is.EqualTo(new[] { .2, -.175 }).Within(Tolerance));

        static double[] Run(IAggregator aggregator, RoundState state) => FamilyKnownAnswerTests.Run(aggregator, state);
    }

    [Test]
    public void SlerpTakesTwoClients()
    {
        RoundRejectedException? refused = Assert.Throws<RoundRejectedException>(() => Merge(new SlerpAggregator()));
        Assert.That(refused!.Message, Does.StartWith("'slerp' interpolates two clients, and 3 clients of a weight above 0 take part"));
    }

    [Test]
    public void OptionsOutOfTheirRangesAreRefused()
    {
        Assert.That(() => new Ties(new TiesOptions { Density = 0 }), Refuses("density is 0; a number above 0 and at most 1 was expected."));
        Assert.That(() => new Ties(new TiesOptions { Density = 1.5 }), Refuses("density is 1.5;"));
        Assert.That(() => new Ties(new TiesOptions { Scale = double.NaN }), Refuses("scale is NaN; a finite number was expected."));
        Assert.That(
            () => new Dare(new DareOptions()),
            Refuses("seed is missing; a whole number was expected, from which 'dare' draws its masks."));
        Assert.That(() => new Breadcrumbs(new BreadcrumbsOptions { Gamma = 1 }), Refuses("gamma is 1; a number of at least 0 and below 1"));
        Assert.That(() => new Slerp(new SlerpOptions { T = 2 }), Refuses("t is 2; a number from 0 to 1, or share, was expected."));
        Assert.That(() => new Ema(new EmaOptions { Decay = 1 }), Refuses("decay is 1; a number of at least 0 and below 1"));
        Assert.That(
            () => new StageAggregator(new Krum(), new Ties(new TiesOptions { Weighting = MergeWeighting.One })),
            Refuses("'krum' decides how the clients weigh; weighting=one of 'ties' cannot change that."));

        static NUnit.Framework.Constraints.Constraint Refuses(string sentence) =>
            Throws.TypeOf<InvalidOptionsException>().With.Message.Contains(sentence);
    }

    [Test]
    public void ANaNIsRefusedWithTheClientsNameEvenWhereItWouldBeTrimmed([Values("ties", "dare", "breadcrumbs", "slerp")] string rule)
    {
        KeyValuePair<string, string>[] options = rule == "dare" ? [new("seed", "1")] : [];
        IAggregator aggregator = StrategyRegistry.Default.Create(rule, options).Aggregator;
        RoundRejectedException? refused = Assert.Throws<RoundRejectedException>(
            () => Merge(aggregator, [1, 1], [1, 2, 3, 4, 5], [1, 2, double.NaN, 4, 5]));
        Assert.That(refused!.Message, Does.StartWith("Client '1': tensor 'w' has 1 value that is NaN or infinite"));
    }

    private static double[] Merge(IAggregator aggregator) => Merge(aggregator, [1, 2, 1], Updates);

    private static double[] Merge(IAggregator aggregator, double[] weights, params double[][] updates)
    {
        using var global = Models.Of64("w", [updates[0].Length], new double[updates[0].Length]);
        var round = new AggregationRound(global);
        foreach ((int k, double[] update) in updates.Index())
            round.Add(ClientUpdate.FromTensors($"{k}", Models.Of64("w", [update.Length], update), weights[k]));
        using var sink = new MemorySink();
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return sink.Model.ToArray<double>("w");
    }
}
