using CsCheck;

namespace FedICU.Tests;

/// <summary>Laws that hold for every rule of the family (docs/algorithms.md), for random rounds.</summary>
internal sealed class FamilyLawTests
{
    private static readonly Func<IAggregator>[] Rules =
    [
        () => new MedianAggregator(),
        () => new KrumAggregator(),
        () => new FedAdamAggregator(),
        () => new StageAggregator(new Krum(), new FedAdam()),
        () => new StageAggregator(new Median(), new FedAdam()),
    ];

    // a number of clients, and whole numbers from a small range, so that there are ties and sums are exact
    private static readonly Gen<(int Clients, int Length, int Seed)> Round =
        Gen.Select(Gen.Int[3, 12], Gen.Int[1, 40], Gen.Int[0, 1 << 20]);

    [Test]
    public void TheOrderOfClientsAndThreadsChangeNoBit() => Round.Sample(round =>
    {
        foreach (Func<IAggregator> rule in Rules)
        {
            (MemoryModel global, MemoryModel[] clients) = Create(round, fractions: true);
            byte[] expected = Run(rule(), global, clients, [.. Enumerable.Range(0, clients.Length)], 1);
            int[] order = [.. Enumerable.Range(0, clients.Length)];
            new Random(round.Seed).Shuffle(order);
            Assert.That(Run(rule(), global, clients, order, 7), Is.EqualTo(expected), $"{rule().Name}, {round}");
        }
    }, iter: 40);

    [Test]
    public void ATensorAddedToAllIsAddedToTheResult() => Round.Sample(round =>
    {
        foreach (Func<IAggregator> rule in Rules[..2])
        {
            (MemoryModel global, MemoryModel[] clients) = Create(round);
            double[] plain = ToDoubles(Run(rule(), global, clients, Order(clients), 1));
            double[] added = ToDoubles(Run(rule(), Add(global, 5), [.. clients.Select(client => Add(client, 5))], Order(clients), 1));
            Assert.That(added, Is.EqualTo(plain.Select(value => value + 5)), $"{rule().Name}, {round}");
        }
    }, iter: 100);

    [Test]
    public void IdenticalClientsComeBack() => Round.Sample(round =>
    {
        foreach (Func<IAggregator> rule in Rules[..2])
        {
            (MemoryModel global, MemoryModel[] clients) = Create(round, fractions: true);
            byte[] result = Run(rule(), global, [.. clients.Select(_ => clients[0])], Order(clients), 2);
            Assert.That(result, Is.EqualTo(Models.AllBytes(clients[0])), $"{rule().Name}, {round}");
        }
    }, iter: 100);

    [Test]
    public void TheMedianOfOneClientIsTheClient()
    {
        (MemoryModel global, MemoryModel[] clients) = Create((1, 9, 3), fractions: true);
        Assert.That(Run(new MedianAggregator(), global, clients, [0], 1), Is.EqualTo(Models.AllBytes(clients[0])));
    }

    [Test]
    public void ClientsThatSendTheGlobalModelLeaveFedAdamWhereItIs() => Round.Sample(round =>
    {
        (MemoryModel global, MemoryModel[] clients) = Create(round);
        byte[] result = Run(new FedAdamAggregator(), global, [.. clients.Select(_ => global)], Order(clients), 2);
        Assert.That(result, Is.EqualTo(Models.AllBytes(global)), $"{round}");
    }, iter: 50);

    private static int[] Order(MemoryModel[] clients) => [.. Enumerable.Range(0, clients.Length)];

    private static (MemoryModel Global, MemoryModel[] Clients) Create((int Clients, int Length, int Seed) round, bool fractions = false)
    {
        var random = new Random(round.Seed);
        return (Model(), [.. Enumerable.Range(0, round.Clients).Select(_ => Model())]);

        MemoryModel Model() => new()
        {
            { "a", [round.Length], Values(round.Length) },
            { "b", [2, round.Length], Values(2 * round.Length) },
            { "c", [], Values(1) },
        };

        double[] Values(int count) =>
            [.. Enumerable.Range(0, count).Select(_ => fractions ? random.NextDouble() - .5 : (double)random.Next(-3, 4))];
    }

    private static MemoryModel Add(MemoryModel model, double value)
    {
        var sum = new MemoryModel();
        foreach (TensorInfo tensor in model.Tensors)
            sum.Add(tensor.Name, tensor.Shape.Dimensions, model.ToArray<double>(tensor.Name).Select(old => old + value).ToArray());
        return sum;
    }

    private static byte[] Run(IAggregator rule, MemoryModel global, MemoryModel[] clients, int[] order, int threads)
    {
        var round = new AggregationRound(global, new RoundOptions { Threads = threads });
        foreach (int k in order)
            round.Add(ClientUpdate.FromTensors($"{k:D2}", clients[k], 1 + k % 3));
        using var sink = new MemorySink();
        rule.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return Models.AllBytes(sink.Model);
    }

    private static double[] ToDoubles(byte[] bytes) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, double>(bytes).ToArray();
}
