namespace FedICU.Tests.Rounds;

/// <summary>The cross-terms of LoRA pairs in a report with statistics.</summary>
internal sealed class LoraCrossTermTests
{
    [TestCase("m.lora_A.weight", "m.lora_B.weight"), TestCase("m.lora_embedding_A", "m.lora_embedding_B")]
    public void TheCrossTermHasItsKnownValue(string nameOfA, string nameOfB)
    {
        MemoryModel Pair(float[] a, float[] b) => new() { { nameOfA, [1, 2], a }, { nameOfB, [2, 1], b } };
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("x", Pair([1, 0], [1, 0]), 1),
            ClientUpdate.FromTensors("y", Pair([0, 1], [0, 1]), 1),
        ];
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), Pair([0, 0], [0, 0]), clients,
            new RoundOptions { Statistics = true });
        // mean(BA) = diag(1, 1)/2 and mean(B) mean(A) = ones/4: their difference has the norm 1/2, mean(BA) the norm
        // sqrt(1/2)
        Assert.That(report.LoraPairs.Single().Name, Is.EqualTo("m"));
        Assert.That(report.LoraPairs.Single().CrossTerm, Is.EqualTo(Math.Sqrt(0.5)).Within(1e-15));
    }

    [TestCase(1100, 530, 3, 3), TestCase(255, 257, 5, 4), TestCase(3, 2, 1, 1)]
    public void TheCrossTermOfLongFactorsEqualsTheDenseOne(int inputs, int outputs, int rank, int clients)
    {
        var random = new Random(5);
        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - .4f)];
        float[][] a = [.. Enumerable.Range(0, clients).Select(_ => Values(rank * inputs))];
        float[][] b = [.. Enumerable.Range(0, clients).Select(_ => Values(outputs * rank))];
        MemoryModel Pair(float[] a, float[] b) =>
            new() { { "m.lora_A.weight", [rank, inputs], a }, { "m.lora_B.weight", [outputs, rank], b } };
        double[] terms = [.. new[] { 1, 3 }.Select(threads =>
        {
            RoundReport report = Models.RunForReport(new FedAvgAggregator(), Pair(a[0], b[0]),
                Enumerable.Range(0, clients).Select(k => ClientUpdate.FromTensors($"{k}", Pair(a[k], b[k]), k + 1)),
                new RoundOptions { Statistics = true, Threads = threads });
            return report.LoraPairs.Single().CrossTerm;
        })];
        double dense = DenseCrossTerm.Compute(
            [.. a.Select(Widen)], [.. b.Select(Widen)], rank, [.. Enumerable.Range(1, clients).Select(weight => (double)weight)]);
        Assert.That(terms[0], Is.EqualTo(dense).Within(1e-12));
        Assert.That(terms[1], Is.EqualTo(terms[0]), "the same for any number of threads");

        static double[] Widen(float[] values) => Array.ConvertAll(values, value => (double)value);
    }

    [Test]
    public void PairsOfTooManyStackedRanksAreOneNote()
    {
        static MemoryModel Pairs() => new()
        {
            { "m.lora_A.weight", [1100, 1], new float[1100] }, { "m.lora_B.weight", [1, 1100], new float[1100] },
                { "n.lora_A.weight", [1100, 1], new float[1100] }, { "n.lora_B.weight", [1, 1100], new float[1100] },
        };
        RoundReport report = Models.RunForReport(
            new FedAvgAggregator(), Pairs(), [ClientUpdate.FromTensors("x", Pairs(), 1), ClientUpdate.FromTensors("y", Pairs(), 1)],
            new RoundOptions { Statistics = true });
        Assert.That(report.Notes,
            Is.EqualTo(new[] { "The cross-term of 'm' and of 1 more LoRA pair was left out: clients times rank are more than 2048." }));
    }
}
