namespace FedICU.Tests;

/// <summary>Known answers of the rules of LoRA pairs, from an independent float64 implementation.</summary>
internal sealed class LoraRuleAnswerTests
{
    private const double Tolerance = 5e-9;

    // two clients of rank 1, scaling 1, that share no direction
    private static readonly LoraClient[] Equal = [new([1, 0], [1, 0], 1, 1), new([0, 1], [0, 2], 1, 1)];

    // ranks 1 and 2, alpha 2; the global model has rank 2 and alpha 2
    private static readonly LoraClient[] Mixed = [new([1, 0], [1, 0], 2, 1), new([0, 1, 1, 1], [0, 1, 2, 0], 2, 3)];

    [Test]
    public void FlorasFactorsAreStacked()
    {
        LoraResult result = LoraClient.Run("flora", Equal, new([0, 0], [0, 0], 1, 1));
        Assert.That(result.A, Is.EqualTo(new[] { .5, 0, 0, .5 }));
        Assert.That(result.B, Is.EqualTo(new double[] { 1, 0, 0, 2 }));
        Assert.That((result.Written.Rank, result.Written.LoraAlpha), Is.EqualTo((2, 2.0)));
    }

    [Test]
    public void FlexLoraTakesTheLargestSingularValue()
    {
        LoraResult result = LoraClient.Run("flexlora", Equal, new([0, 0], [0, 0], 1, 1));
        Assert.That(result.A, Is.EqualTo(new double[] { 0, 1 }).Within(1e-15));
        Assert.That(result.B, Is.EqualTo(new double[] { 0, 1 }).Within(1e-15));
        Assert.That(result.Pair.Error, Is.EqualTo(.5).Within(1e-15));
        Assert.That((result.Written.Rank, result.Written.LoraAlpha), Is.EqualTo((1, 1.0)), "rank and alpha stay");
    }

    [Test]
    public void FlexLoraOfMixedRanks()
    {
        LoraResult result = LoraClient.Run("flexlora", Mixed, new([0, 0, 0, 0], [0, 0, 0, 0], 2, 1));
        Assert.That(result.A, Is.EqualTo(new[] { .63665928, 1.18960874, .89477357, -.47886828 }).Within(Tolerance));
        Assert.That(result.B, Is.EqualTo(new[] { .92723260, .73724659, .98017534, -.69742529 }).Within(Tolerance));
        Assert.That(result.Pair.Error, Is.EqualTo(0).Within(1e-15));
    }

    [Test]
    public void FlexLoraOfMixedRanksCutToOne()
    {
        LoraResult result = LoraClient.Run("flexlora", Mixed, new([0, 0, 0, 0], [0, 0, 0, 0], 2, 1), "rank=1");
        Assert.That(result.A, Is.EqualTo(new[] { .45018609, .84118041 }).Within(Tolerance));
        Assert.That(result.B, Is.EqualTo(new[] { .65565246, .69308863 }).Within(Tolerance));
        Assert.That(result.Pair.Error, Is.EqualTo(1.02993457).Within(Tolerance));
        Assert.That(result.Pair.RelativeError, Is.EqualTo(.49240291).Within(Tolerance));
        Assert.That((result.Written.Rank, result.Written.LoraAlpha), Is.EqualTo((1, 2.0)));
    }

    [Test]
    public void HetLoraWeighsByNormsAndPads()
    {
        LoraResult result = LoraClient.Run("hetlora", Mixed, new([0, 0, 0, 0], [0, 0, 0, 0], 2, 1));
        Assert.That(result.Weights, Is.EqualTo(new[] { .44948974, .55051026 }).Within(Tolerance));
        Assert.That(result.A, Is.EqualTo(new[] { .44948974, .55051026, .55051026, .55051026 }).Within(Tolerance));
        Assert.That(result.B, Is.EqualTo(new[] { .89897949, .55051026, 1.10102051, 0 }).Within(Tolerance));
    }
}
