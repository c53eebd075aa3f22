using System.Runtime.InteropServices;
using CsCheck;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>Laws that hold for every rule of the family (docs/strategies.md), for random rounds.</summary>
internal sealed class FamilyLawTests
{
    private const string Root = "root";

    // every rule beside FedICU, compositions, and options that change the way a rule is computed
    private static readonly Rule[] Rules =
    [
        new("fedavg"), new("fedavg", "weighting=uniform"), new("median"), new("trimmed-mean"), new("trimmed-mean", "trim-count=1"),
        new("krum"), new("multi-krum"), new("multi-krum", "weighting=share"), new("bulyan"), new("bulyan", "selection=once"),
        new("geometric-median"), new("norm-clip"), new("norm-clip", "clip-norm=0.5"), new("norm-filter"), new("fltrust", Root),
        new("centered-clip"), new("centered-clip", "radius=0.5", "iterations=3"),
        new("fedavgm"), new("fedavgm", "nesterov=true"), new("fedadagrad"), new("fedadam"), new("fedadam", "bias-correction=torch"),
        new("fedyogi"), new("fednova"), new("fednova", "local-momentum=0.5"), new("scaffold", "control=derived", "local-lr=0.1"),
        new("qfedavg"), new("qfedavg", "q=1"), new("feddyn"), new("feddyn", "population=20"), new("fedbuff"),
        new("dp-fedavg", "clip-norm=1", "noise-multiplier=0"), new("dp-fedavg", "clip-norm=1", "noise-multiplier=0.5", "seed=3"),
        new("task-arithmetic"), new("task-arithmetic", "scale=0.4", "weighting=one"), new("ties"), new("ties", "density=1"),
        new("ties", "density=0.3", "trim-scope=model", "elect=count", "disjoint=count"), new("ties", "elect-weights=false", "disjoint=sum"),
        new("ties", "weighting=uniform", "elect-weights=false", "disjoint=count"), new("ties", "elect=count", "disjoint=sum"),
        new("dare", "seed=7"), new("dare", "seed=-3", "rescale=l1", "density=0.3"), new("dare", "seed=7", "merge=ties", "disjoint=mean"),
        new("dare", "seed=7", "rescale=none", "weighting=raw", "scale=0.1"), new("breadcrumbs"),
        new("breadcrumbs", "density=0.5", "gamma=0.2"), new("slerp"), new("slerp", "t=share", "target=delta"),
        new("ema"), new("ema", "output=ema"), new("norm-clip,ties", "density=0.5"), new("krum,dare", "seed=1"), new("ties,fedadam"),
        new("multi-krum,breadcrumbs"), new("task-arithmetic,ema", "scale=0.5"),
        new("krum,fedadam"), new("norm-clip,median,fedadam", "fedadam.server-lr=0.05"), new("multi-krum,trimmed-mean"),
        new("fednova,fedavgm"), new("fedbuff,fedadam"), new("median,scaffold", "control=derived", "local-lr=0.1"),
    ];

    // they return what all clients sent
    private static readonly string[] Selecting =
    [
        "fedavg", "median", "trimmed-mean", "krum", "multi-krum", "bulyan", "geometric-median", "norm-filter", "norm-clip", "scaffold",
        "task-arithmetic", "ties density=1", "slerp", "ema",
    ];

    private static readonly string[] TakingOne =
    [
        "fedavg", "median", "trimmed-mean", "geometric-median", "norm-clip", "scaffold", "fltrust", "task-arithmetic", "ties density=1",
        "ema",
    ];

    // a number of clients, and whole numbers from a small range, so that there are ties and sums are exact
    private static readonly Gen<(int Clients, int Length, int Seed)> Round =
        Gen.Select(Gen.Int[3, 12], Gen.Int[1, 40], Gen.Int[0, 1 << 20]);

    private TempFolder _place = null!;
    private int _roots;

    [SetUp]
    public void SetUp() => _place = new TempFolder();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void EveryRuleIsHere() => Assert.That(
        StrategyRegistry.Default.Strategies.Select(strategy => strategy.Name).Except(["fedicu", "fedprox", "balance"])
            // rules of LoRA pairs have laws of their own (LoraRuleLawTests)
            .Except(["ffa-lora", "flora", "flexlora", "hetlora", "fedex-lora"]),
        Is.SubsetOf(Rules.Select(rule => rule.Name)));

    [TestCaseSource(nameof(Rules))]
    public void TheOrderOfClientsAndThreadsChangeNoBit(Rule rule) => Round.Sample(round =>
    {
        (MemoryModel global, MemoryModel[] clients) = Create(rule.Resize(round), fractions: true);
        byte[] expected = Run(rule, global, clients, Order(clients), 1);
        int[] order = Order(clients);
        new Random(round.Seed).Shuffle(order);
        Assert.That(Run(rule, global, clients, order, 7), Is.EqualTo(expected), $"{round}");
    }, iter: 8);

    [TestCaseSource(nameof(Rules))]
    public void ATensorAddedToAllIsAddedToTheResult(Rule rule) => Round.Sample(round =>
    {
        // a tensor that is added turns parameters
        if (rule.ToString() == "slerp")
            return;
        (MemoryModel global, MemoryModel[] clients) = Create(rule.Resize(round));
        double[] plain = ToDoubles(Run(rule, global, clients, Order(clients), 1));
        double[] added = ToDoubles(Run(rule, Add(global, 5), [.. clients.Select(client => Add(client, 5))], Order(clients), 1, shift: 5));
        Assert.That(added, Is.EqualTo(plain.Select(value => value + 5)).Within(1e-12), $"{round}");
    }, iter: 20);

    [TestCaseSource(nameof(Selecting))]
    public void IdenticalClientsComeBack(string name) => Round.Sample(round =>
    {
        (MemoryModel global, MemoryModel[] clients) = Create(name == "slerp" ? round with { Clients = 2 } : round, fractions: true);
        AssertClient(clients[0], Run(Find(name), global, [.. clients.Select(_ => clients[0])], Order(clients), 2), $"{round}");
    }, iter: 20);

    [TestCaseSource(nameof(TakingOne))]
    public void OneClientComesBack(string name)
    {
        (MemoryModel global, MemoryModel[] clients) = Create((1, 9, 3), fractions: true);
        double[] result = ToDoubles(Run(Find(name), global, clients, [0], 1));
        if (name != "fltrust")
        {
            Assert.That(result, Is.EqualTo(ToDoubles(Models.AllBytes(clients[0]))).Within(1e-15));
            return;
        }

        // scaled to the root's distance, or the global model if the two point away from each other
        double[] x = ToDoubles(Models.AllBytes(global)), y = ToDoubles(Models.AllBytes(clients[0]));
        double[] root = ToDoubles(Models.AllBytes(CreateRoot(global, 0)));
        double scale = Norm(root) / Norm(y);
        Assert.That(result, Is.EqualTo(x.Zip(y, (from, to) => from + (to - from) * scale)).Within(1e-12));

        double Norm(double[] to) => Math.Sqrt(to.Zip(x, (one, two) => (one - two) * (one - two)).Sum());
    }

    [TestCaseSource(nameof(Rules))]
    public void ClientsThatSendTheGlobalModelLeaveItWhereItIs(Rule rule)
    {
        if (rule.Options.Contains("noise-multiplier=0.5"))
            Assert.Ignore("noise moves the model");
        (MemoryModel global, MemoryModel[] clients) = Create((rule.Clients ?? 7, 20, 5), fractions: true);
        // adaptive steps divide a rounding of the mean by tau
        byte[] result = Run(rule, global, [.. clients.Select(_ => global)], Order(clients), 2);
        Assert.That(ToDoubles(result), Is.EqualTo(ToDoubles(Models.AllBytes(global))).Within(1e-12));
    }

    private static Rule Find(string name) => Rules.First(rule => rule.Name == name || rule.ToString() == name);

    /// <summary>A mean of equal values may differ by a rounding.</summary>
    private static void AssertClient(MemoryModel expected, byte[] actual, string message) =>
        Assert.That(ToDoubles(actual), Is.EqualTo(ToDoubles(Models.AllBytes(expected))).Within(1e-15), message);

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

    private static MemoryModel Add(MemoryModel model, double value) => Map(model, (old, _) => old + value);

    /// <summary>A model near the global one, as if the server had trained it.</summary>
    private static MemoryModel CreateRoot(MemoryModel global, double shift) =>
        Map(global, (value, i) => value - shift + (i % 3 - 1) * .25 + .1 + shift);

    private static MemoryModel Map(MemoryModel model, Func<double, int, double> map)
    {
        var mapped = new MemoryModel();
        foreach (TensorInfo tensor in model.Tensors)
            mapped.Add(tensor.Name, tensor.Shape.Dimensions, model.ToArray<double>(tensor.Name).Select(map).ToArray());
        return mapped;
    }

    private byte[] Run(Rule rule, MemoryModel global, MemoryModel[] clients, int[] order, int threads, double shift = 0)
    {
        var options = rule.Options.Where(option => option != Root).Select(option => option.Split('='))
            .Select(pair => KeyValuePair.Create(pair[0], pair[1])).ToList();
        if (rule.Options.Contains(Root))
        {
            string root = _place[$"{Interlocked.Increment(ref _roots)}.safetensors"];
            CreateRoot(global, shift).SaveTo(TensorSink.ToFile(root));
            options.Add(KeyValuePair.Create(Root, root));
        }

        ConfiguredRound configured = StrategyRegistry.Default.Create(rule.Name, options, new RoundOptions { Threads = threads });
        var round = new AggregationRound(global, configured.Options);
        foreach (int k in order)
        {
            var statements = new ClientStatements { LocalSteps = 1 + k % 4, Loss = .5 + k % 3, Staleness = k % 5 };
            round.Add(ClientUpdate.FromTensors($"{k:D2}", clients[k], 1 + k % 3, statements: statements));
        }

        using var sink = new MemorySink();
        configured.Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return Models.AllBytes(sink.Model);
    }

    private static double[] ToDoubles(byte[] bytes) => MemoryMarshal.Cast<byte, double>(bytes).ToArray();

    /// <summary>A rule by its name and options, as the command line takes them.</summary>
    public sealed record Rule(string Name, params string[] Options)
    {
        /// <summary>The only number of clients that the rule takes; null: any.</summary>
        public int? Clients => Name == "slerp" ? 2 : null;

        public (int Clients, int Length, int Seed) Resize((int Clients, int Length, int Seed) round) =>
            round with { Clients = Clients ?? round.Clients };

        public override string ToString() => string.Join(' ', [Name, .. Options]);
    }
}
