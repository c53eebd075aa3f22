namespace FedICU.Tests;

/// <summary>Known answers of the robust rules, from an independent implementation.</summary>
internal sealed class RobustRuleAnswerTests
{
    private const double Tolerance = 5e-9;

    // values of one element around a model of 0: one is far off
    private static readonly double[] Line = [0, 1, 1.5, 3, 10, -1, 2];

    [Test]
    public void TrimmedMean() =>
        Assert.That(Run(new TrimmedMeanAggregator(), [0], [[1], [2], [3], [4], [100]]).Values, Is.EqualTo(new[] { 3.0 }));

    [TestCase(0.2, 5, 1)]
    [TestCase(0.2, 7, 1)]
    [TestCase(0.1, 30, 3)]
    [TestCase(0.29, 100, 29)]
    [TestCase(0.49, 2, 0)]
    public void TheTrimCountOfABeta(double beta, int clients, int trimmed)
    {
        // the mean of 0, 1, 4, 9, ... shows how many were trimmed
        double[][] values = [.. Enumerable.Range(0, clients).Select(k => new double[] { k * k })];
        double expected = values[trimmed..^trimmed].Average(value => value[0]);
        Assert.That(
            Run(new TrimmedMeanAggregator(new TrimmedMeanOptions { Beta = beta }), [0], values).Values[0],
            Is.EqualTo(expected).Within(1e-12 * expected));
    }

    [Test]
    public void ATrimCountThatLeavesNoValueIsRefused([Values(2, int.MaxValue)] int count) => Assert.That(
        () => Run(new TrimmedMeanAggregator(new TrimmedMeanOptions { TrimCount = count }), [0], [[1], [2], [3]]),
        Throws.TypeOf<RoundRejectedException>().With.Message.Contains("at least one value must be left"));

    [Test]
    public void MultiKrum()
    {
        (double[] values, RoundReport report) = RunLine(new MultiKrumAggregator(new MultiKrumOptions { Byzantine = 1 }));
        Assert.That(report.Stages.Single().Values, Is.EqualTo(new[] { 8.25, 6.25, 5, 16.25, 266.25, 20.25, 6.25 }));
        Assert.That(report.Clients.Where(client => client.Chosen).Select(client => client.Id), Is.EqualTo(new[] { "0", "1", "2", "6" }));
        Assert.That(values, Is.EqualTo(new[] { 1.125 }));
    }

    [TestCase(BulyanSelectionRule.Iterative, 2, 4, 1, 5, 0, 0, 3)]
    [TestCase(BulyanSelectionRule.Once, 4, 2, 1, 5, 0, 0, 3)]
    public void Bulyan(BulyanSelectionRule selection, params double[] places)
    {
        (double[] values, RoundReport report) = RunLine(new BulyanAggregator(new BulyanOptions { Selection = selection }));
        Assert.That(report.Stages.Single(stage => stage.Name == "chosen").Values, Is.EqualTo(places));
        Assert.That(values, Is.EqualTo(new[] { 1.5 }));
    }

    [Test]
    public void BulyansMeanOfManyElementsIsThatOfEach()
    {
        var random = new Random(5);
        double[][] clients =
            [.. Enumerable.Range(0, 11).Select(_ => Enumerable.Range(0, 1037).Select(_ => random.Next(-9, 9) / 4.0).ToArray())];
        (double[] values, RoundReport report) = Run(new BulyanAggregator(), new double[1037], clients);
        int[] chosen = [.. report.Clients.Index().Where(client => client.Item.Chosen).Select(client => client.Index)];
        Assert.That(chosen, Has.Length.EqualTo(7), "f is 2");
        for (int i = 0; i < values.Length; i++)
        {
            double[] all = [.. chosen.Select(k => ById(k)[i]).Order()];
            double median = all[3];
            double[] closest = [.. all.OrderBy(value => (Math.Abs(value - median), value)).Take(3)];
            Assert.That(values[i], Is.EqualTo(closest.Average()).Within(1e-15), $"element {i}");
        }

        // clients are in the ordinal order of their ids
        double[] ById(int k) => clients[int.Parse(report.Clients[k].Id)];
    }

    [Test]
    public void GeometricMedian()
    {
        var options = new GeometricMedianOptions { Tolerance = 0 };
        (double[] values, _) = Run(new GeometricMedianAggregator(options), [0, 0], [[0, 0], [4, 0], [0, 3], [2, 2]], [1, 1, 1, 2]);
        Assert.That(values, Is.EqualTo(new[] { 1.93421991, 1.93098420 }).Within(Tolerance));
        (double[] limit, _) = Run(
            new GeometricMedianAggregator(options with { Iterations = 2000, Nu = 1e-12 }), [0, 0],
            [[0, 0], [4, 0], [0, 3], [2, 2]], [1, 1, 1, 2]);
        Assert.That(limit, Is.EqualTo(new double[] { 2, 2 }).Within(1e-3));
    }

    [Test]
    public void NormFilter() => Assert.That(RunThree(new NormFilterAggregator()), Is.EqualTo(new[] { 1.5, -1 }).Within(Tolerance));

    [Test]
    public void FlTrust()
    {
        using var place = new Files.TempFolder();
        string root = place["root.safetensors"];
        Models.Of64("w", [2], 1.6, -1.2).SaveTo(TensorSink.ToFile(root));
        Assert.That(
            RunThree(new FlTrustAggregator(new FlTrustOptions { Root = root })),
            Is.EqualTo(new[] { 1.42857143, -1.42857143 }).Within(Tolerance));
    }

    [Test]
    public void CenteredClip() => Assert.That(
        RunThree(new CenteredClipAggregator(new CenteredClipOptions { Radius = 1, Iterations = 2 })),
        Is.EqualTo(new[] { 1 + .82295507, -2 + .12221524 }).Within(Tolerance));

    private static double[] RunThree(IAggregator rule) => Run(rule, [1, -2], [[2, -2], [1, 0], [4, -5]], [1, 2, 1]).Values;

    private static (double[] Values, RoundReport Report) RunLine(IAggregator rule) =>
        Run(rule, [0], [.. Line.Select(value => new[] { value })]);

    private static (double[] Values, RoundReport Report) Run(
        IAggregator rule, double[] global, double[][] clients, double[]? weights = null)
    {
        using var model = Models.Of64("w", [global.Length], global);
        (RoundReport report, MemorySink sink) = Models.Run(rule, model,
            [
                .. clients.Select((values, k) =>
                    ClientUpdate.FromTensors($"{k}", Models.Of64("w", [values.Length], values), weights?[k] ?? 1)),
            ]);
        using (sink)
            return (sink.Model.ToArray<double>("w"), report);
    }
}
