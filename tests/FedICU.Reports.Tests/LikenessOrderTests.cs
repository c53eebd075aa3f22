namespace FedICU.Reports.Tests;

/// <summary>The order in which alike items stand side by side.</summary>
internal sealed class LikenessOrderTests
{
    [Test]
    public void PointsOfALineAreOrderedAlongIt()
    {
        double[] points = [5, 1, 9, 2, 8, 4];
        int[] order = LikenessOrder.Of(points.Length, (i, j) => Math.Abs(points[i] - points[j]));
        double[] ordered = [.. order.Select(at => points[at])];
        Assert.That(ordered, Is.EqualTo((double[])[1, 2, 4, 5, 8, 9]).Or.EqualTo((double[])[9, 8, 5, 4, 2, 1]));
    }

    [Test]
    public void EveryItemOccursOnce([Values(0, 1, 2, 37)] int count)
    {
        var random = new Random(1);
        double[] points = [.. Enumerable.Range(0, count).Select(_ => random.NextDouble())];
        Assert.That(LikenessOrder.Of(count, (i, j) => Math.Abs(points[i] - points[j])), Is.EquivalentTo(Enumerable.Range(0, count)));
        Assert.That(LikenessOrder.Of(count, (_, _) => 0), Is.EquivalentTo(Enumerable.Range(0, count)), "all are equally far");
    }
}
