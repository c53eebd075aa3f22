using CsCheck;

namespace FedICU.Tests;

/// <summary>Laws of the rules of LoRA pairs, for random adapters of mixed ranks, alphas and sizes.</summary>
internal sealed class LoraRuleLawTests
{
    private static readonly Gen<(int Clients, int Inputs, int Outputs, int Seed)> Rounds =
        Gen.Select(Gen.Int[1, 6], Gen.Int[3, 60], Gen.Int[3, 60], Gen.Int[0, 1 << 20]);

    [Test]
    public void FlorasProductIsTheMeanOfTheProducts() => Rounds.Sample(round =>
    {
        LoraClient[] clients = Create(round, mixed: true);
        double[] expected = Dense.Mean(clients);
        LoraResult result = LoraClient.Run("flora", clients, Zero(round, 2));
        Assert.That(result.Scaling, Is.EqualTo(1));
        double[] found = Dense.Product(result.A, result.B, result.Rank, 1);
        Assert.That(Dense.Distance(found, expected), Is.LessThanOrEqualTo(1e-13 * Dense.Norm(expected)), $"{round}");
    }, iter: 20);

    [TestCase("share", 1.0)]
    [TestCase("share", -0.5)]
    [TestCase("raw", 0.3)]
    [TestCase("one", 1.0)]
    public void TaskArithmeticAddsUpProducts(string weighting, double scale) => Rounds.Sample(round =>
    {
        LoraClient[] clients = Create(round, mixed: true);
        LoraClient global = Create(round with { Clients = 1, Seed = round.Seed + 1 }, mixed: true)[0];
        double total = clients.Sum(client => client.Examples);
        double[] old = Dense.Product(global.A, global.B, global.Rank, global.Scaling), expected = [.. old];
        foreach (LoraClient client in clients)
        {
            double[] product = Dense.Product(client.A, client.B, client.Rank, client.Scaling);
            double weight = scale * (weighting == "raw" ? client.Examples : weighting == "one" ? 1 : client.Examples / total);
            for (int i = 0; i < expected.Length; i++)
                expected[i] += weight * (product[i] - old[i]);
        }

        LoraResult result = LoraClient.Run(
            "task-arithmetic", clients, global, "space=product", $"weighting={weighting}", FormattableString.Invariant($"scale={scale}"));
        double size = Dense.Norm(old) + clients.Sum(client => Dense.Norm(Dense.Product(client.A, client.B, client.Rank, client.Scaling)));
        Assert.That(
            Dense.Distance(Dense.Product(result.A, result.B, result.Rank, result.Scaling), expected),
            Is.LessThanOrEqualTo(1e-12 * total * size), $"{round}");
    }, iter: 10);

    [Test]
    public void FlexLorasErrorIsTheDistanceToTheMeanOfTheProducts() => Rounds.Sample(round =>
    {
        LoraClient[] clients = Create(round, mixed: true);
        double[] expected = Dense.Mean(clients);
        foreach (string split in (string[])["balanced", "a", "b"])
        {
            LoraResult result = LoraClient.Run("flexlora", clients, Zero(round, 2), $"split={split}");
            double[] found = Dense.Product(result.A, result.B, result.Rank, result.Scaling);
            double scale = Dense.Norm(expected);
            Assert.That(result.Pair.Error, Is.EqualTo(Dense.Distance(found, expected)).Within(1e-12 * scale), $"{round} {split}");
            Assert.That(result.Pair.RelativeError, Is.EqualTo(result.Pair.Error / scale).Within(1e-12), $"{round} {split}");
        }
    }, iter: 12);

    [Test]
    public void FullRankLosesNothing() => Rounds.Sample(round =>
    {
        LoraClient[] clients = Create(round, mixed: true);
        int rank = Math.Min(round.Inputs, round.Outputs);
        double[] expected = Dense.Mean(clients);
        LoraResult result = LoraClient.Run("flexlora", clients, Zero(round, 1), $"rank={rank}");
        Assert.That(
            Dense.Distance(Dense.Product(result.A, result.B, rank, result.Scaling), expected),
            Is.LessThanOrEqualTo(1e-12 * Dense.Norm(expected)), $"{round}");
    }, iter: 12);

    [TestCase("flora")]
    [TestCase("flexlora")]
    [TestCase("hetlora")]
    [TestCase("fedex-lora")]
    public void OneClientComesBackAsItsProduct(string rule) => Rounds.Sample(round =>
    {
        LoraClient[] clients = [Create(round, mixed: false)[0]];
        LoraResult result = LoraClient.Run(rule, clients, Zero(round, 3));
        double[] expected = Dense.Mean(clients), found = Dense.Product(result.A, result.B, result.Rank, result.Scaling);
        Assert.That(Dense.Distance(found, expected), Is.LessThanOrEqualTo(1e-12 * Dense.Norm(expected)), $"{rule} {round}");
    }, iter: 8);

    [Test]
    public void ProductsThatDependOnEachOtherAreFactored()
    {
        // all clients share A, so that its stacked rows are dependent: Householder's part
        var random = new Random(5);
        double[] a = Values(random, 4 * 50);
        LoraClient[] clients = [.. Enumerable.Range(0, 6).Select(_ => new LoraClient(a, Values(random, 40 * 4), 8, 1) { Inputs = 50 })];
        LoraResult result = LoraClient.Run("flexlora", clients, new LoraClient(a, new double[40 * 4], 8, 1) { Inputs = 50 });
        double[] expected = Dense.Mean(clients), found = Dense.Product(result.A, result.B, 4, 2);
        Assert.That(Dense.Distance(found, expected), Is.LessThanOrEqualTo(1e-12 * Dense.Norm(expected)));
        Assert.That(result.Pair.Error, Is.LessThanOrEqualTo(1e-12 * Dense.Norm(expected)));
    }

    [Test]
    public void NearlyDependentFactorsKeepTheirDigits()
    {
        // clients that moved a little from one A: the stacked factors have a condition of 1e9
        var random = new Random(6);
        double[] a = Values(random, 3 * 40), b = Values(random, 30 * 3);
        LoraClient[] clients =
        [
            .. Enumerable.Range(0, 5).Select(_ => new LoraClient(Near(a), Near(b), 6, 1) { Inputs = 40 }),
        ];
        LoraResult result = LoraClient.Run("flexlora", clients, new LoraClient(a, b, 6, 1) { Inputs = 40 }, "rank=15");
        double[] expected = Dense.Mean(clients), found = Dense.Product(result.A, result.B, 15, result.Scaling);
        Assert.That(Dense.Distance(found, expected), Is.LessThanOrEqualTo(1e-9 * Dense.Norm(expected)));

        double[] Near(double[] values) => [.. values.Select(value => value + 1e-9 * (random.NextDouble() - .5))];
    }

    [Test]
    public void TheFirstRoundKeepsA()
    {
        // every B is 0: A must stay able to learn
        var random = new Random(7);
        double[] a = Values(random, 2 * 9);
        LoraClient[] clients =
            [.. Enumerable.Range(0, 3).Select(_ => new LoraClient(Values(random, 2 * 9), new double[14], 4, 1) { Inputs = 9 })];
        LoraResult result = LoraClient.Run("flexlora", clients, new LoraClient(a, new double[14], 4, 1) { Inputs = 9 });
        Assert.That(result.A, Is.EqualTo(a));
        Assert.That(result.B, Is.EqualTo(new double[14]));
    }

    [Test]
    public void MathNetsThreadsChangeNoBit()
    {
        LoraClient[] clients = Create((5, 60, 50, 3), mixed: true);
        LoraResult one = LoraClient.Run("flexlora", clients, Zero((5, 60, 50, 3), 4));
        int before = MathNet.Numerics.Control.MaxDegreeOfParallelism;
        try
        {
            MathNet.Numerics.Control.MaxDegreeOfParallelism = 1;
            LoraResult other = LoraClient.Run("flexlora", clients, Zero((5, 60, 50, 3), 4));
            Assert.That(other.A, Is.EqualTo(one.A));
            Assert.That(other.B, Is.EqualTo(one.B));
        }
        finally
        {
            MathNet.Numerics.Control.MaxDegreeOfParallelism = before;
        }
    }

    private static LoraClient Zero((int Clients, int Inputs, int Outputs, int Seed) round, int rank) =>
        new(new double[rank * round.Inputs], new double[round.Outputs * rank], 2 * rank, 1) { Inputs = round.Inputs };

    private static LoraClient[] Create((int Clients, int Inputs, int Outputs, int Seed) round, bool mixed)
    {
        var random = new Random(round.Seed);
        return [.. Enumerable.Range(0, round.Clients).Select(k =>
        {
            int rank = mixed ? random.Next(1, 4) : 3;
            return new LoraClient(
                Values(random, rank * round.Inputs), Values(random, round.Outputs * rank), mixed ? random.Next(1, 20) : 2 * rank,
                random.Next(1, 100))
            {
                Inputs = round.Inputs,
                UseRsLora = mixed && k % 2 == 1,
            };
        })];
    }

    private static double[] Values(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextDouble() - .5)];
}
