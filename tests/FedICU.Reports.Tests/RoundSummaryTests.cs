namespace FedICU.Reports.Tests;

/// <summary>The norms and cosines of whole updates, from those of the tensors of a real round.</summary>
internal sealed class RoundSummaryTests
{
    [Test]
    public async Task NormsAndCosinesOfWholeUpdatesFollowFromTheTensors()
    {
        var global = new MemoryModel { { "a", [2], new float[2] }, { "b", [1], new float[1] } };
        var round = new AggregationRound(global, new RoundOptions { Statistics = true })
        {
            ClientUpdate.FromTensors("x", new MemoryModel { { "a", [2], new float[] { 3, 0 } }, { "b", [1], new float[] { 4 } } }, 1),
            ClientUpdate.FromTensors("y", new MemoryModel { { "a", [2], new float[] { 0, 3 } }, { "b", [1], new float[] { -4 } } }, 3),
        };
        RoundReport report = (await new FedAvgAggregator().AggregateAsync(round, TensorSink.Discard)).Report;
        var summary = new RoundSummary(report, 0);
        // the mean of (3, 0, 4) and (0, 3, -4) with 1/4 and 3/4 is (0.75, 2.25, -2)
        double norm = Math.Sqrt(0.75 * 0.75 + 2.25 * 2.25 + 4);
        Assert.Multiple(() =>
        {
            Assert.That(summary.UpdateNorms, Is.EqualTo((double[])[5, 5]).Within(1e-12));
            Assert.That(summary.NormOfMean, Is.EqualTo(norm).Within(1e-12));
            Assert.That(summary.MeanUpdateNorm, Is.EqualTo(5).Within(1e-12));
            Assert.That(summary.Cosines[0], Is.EqualTo((3 * 0.75 - 8) / (5 * norm)).Within(1e-12));
            Assert.That(summary.Cosines[1], Is.EqualTo((3 * 2.25 + 8) / (5 * norm)).Within(1e-12));
        });
    }

    [Test]
    public void ARoundWithoutStatisticsHasNone()
    {
        RoundReport report = SampleReports.Round(3, 2);
        report = report with
        {
            Tensors =
            [
                .. report.Tensors.Select(tensor => tensor with
                {
                    Clients = [.. tensor.Clients.Select(part => part with { UpdateNorm = null, Cosine = null })],
                }),
            ],
        };
        var summary = new RoundSummary(report, 0);
        Assert.That((summary.NormOfMean, summary.MeanUpdateNorm), Is.EqualTo((double.NaN, double.NaN)));
        Assert.That(summary.UpdateNorms, Is.All.NaN);
    }

    [Test]
    public void TensorsAreGroupedByLayer()
    {
        LayerGroups groups = LayerGroups.Of(
            ["model.embed.weight", "model.layers.0.q.weight", "model.layers.0.k.weight", "model.layers.1.q.weight", "w"]);
        Assert.That(groups.Names, Is.EqualTo((string[])["model.embed", "model.layers.0", "model.layers.1", "w"]));
        Assert.That(groups.Groups, Is.EqualTo((int[])[0, 1, 1, 2, 3]));
    }
}
