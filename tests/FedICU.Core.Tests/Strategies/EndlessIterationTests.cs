namespace FedICU.Tests;

/// <summary>Rules that iterate end when nothing changes, however many iterations are allowed.</summary>
internal sealed class EndlessIterationTests
{
    [Test]
    [CancelAfter(60_000)]
    public void TheGeometricMedianEndsWithoutATolerance() => AssertEnds(
        new GeometricMedianAggregator(new GeometricMedianOptions { Iterations = int.MaxValue, Tolerance = 0 }),
        new GeometricMedianAggregator(new GeometricMedianOptions { Iterations = 10_000, Tolerance = 0 }));

    [Test]
    [CancelAfter(60_000)]
    public void CenteredClippingEnds([Values(0.01, 1, 10)] double radius) => AssertEnds(
        new CenteredClipAggregator(new CenteredClipOptions { Iterations = int.MaxValue, Radius = radius }),
        new CenteredClipAggregator(new CenteredClipOptions { Iterations = 100_000, Radius = radius }));

    private static void AssertEnds(IAggregator endless, IAggregator many)
    {
        using MemorySink found = Run(endless), expected = Run(many);
        Assert.That(
            found.Model.ToArray<double>("w"), Is.EqualTo(expected.Model.ToArray<double>("w")).Within(1e-9));
    }

    private static MemorySink Run(IAggregator rule)
    {
        (RoundReport report, MemorySink sink) = Models.Run(
            rule, Models.Of64("w", [3], 1, 2, 3),
            [
                ClientUpdate.FromTensors("a", Models.Of64("w", [3], 2, 2, 3), 1),
                ClientUpdate.FromTensors("b", Models.Of64("w", [3], 1, 4, 3), 2),
                ClientUpdate.FromTensors("c", Models.Of64("w", [3], 1.5, 2, 4), 1),
                ClientUpdate.FromTensors("d", Models.Of64("w", [3], 9, -2, 3.3), 1),
            ]);
        Assert.That(report.Stages, Has.Count.AtMost(20));
        return sink;
    }
}
