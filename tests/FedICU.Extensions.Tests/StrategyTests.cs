using FedICU.Tests.Files;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>Strategies of the host's own, composed strategies, and the state of rules that keep one.</summary>
internal sealed class StrategyTests
{
    private static readonly StrategyDescription Doubling = new("doubling", "Twice the merged update.", "", reader =>
    {
        double factor = reader.Number("factor", 2, "What the update is multiplied by.");
        return () => [new Multiply(factor)];
    });

    [Test]
    public void AHostAddsStrategiesOfItsOwn()
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(Rounds.Configuration(("Strategy", "median,doubling"), ("Settings:factor", "0.5")))
            .AddStrategy(Doubling)
            .AddStrategy("halving", "Half of the merged update.", "", _ => () => [new Multiply(0.5)])
            .AddFedIcu("halved", options => options.Strategy = "median,halving"));
        byte[] own = Aggregate(host.Services), again = Aggregate(host.Services, "halved");
        Assert.That(own, Is.EqualTo(again).And.Not.EqualTo(Rounds.Aggregate(new MedianAggregator(), new RoundOptions())));
        Assert.That(host.Services.GetRequiredService<StrategyRegistry>().Names, Does.Contain("doubling").And.Contain("halving"));
        Assert.That(StrategyRegistry.Default.Names, Has.No.Member("doubling"), "the process's registry is another one");
    }

    [Test]
    public void APlugInAddsItsStrategies()
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddStrategies(new Plugin()).AddFedIcu(options => options.Strategy = "krum,doubling"));
        Assert.That(host.Services.GetRequiredService<IAggregator>().Name, Is.EqualTo("krum,multiply"), "the names of the stages");
    }

    [Test]
    public void ATakenNameIsRefusedAtOnce()
    {
        ServiceCollection services = [];
        Assert.That(
            () => services.AddStrategy(Doubling with { Name = "krum" }),
            Throws.ArgumentException.With.Message.StartsWith("The strategy 'krum' is registered already."));
        services.AddSingleton(_ => new StrategyRegistry());
        Assert.That(
            () => services.AddStrategy(Doubling),
            Throws.InvalidOperationException.With.Message.EqualTo(
                "The services create their StrategyRegistry themselves; add the strategy where it is created."));
        Assert.That(() => services.AddStrategies(null!), Throws.ArgumentNullException);
    }

    /// <summary>Two rounds with a host for each give the bits of two rounds in one host.</summary>
    [Test]
    public void AStateInAFileOutlivesTheHost()
    {
        using var folder = new TempFolder();
        byte[] byFile = Run((folder["state.safetensors"], 1), (folder["state.safetensors"], 1));
        Assert.That(byFile, Is.EqualTo(Run((null, 2))));
        Assert.That(byFile, Is.Not.EqualTo(Run((null, 1), (null, 1))), "a state in memory ends with its host");

        static byte[] Run(params (string? State, int Rounds)[] hosts)
        {
            TensorSource global = Rounds.Model(0);
            foreach ((string? path, int rounds) in hosts)
            {
                using IHost host = Rounds.CreateHost(services => services.AddFedIcu(
                    Rounds.Configuration(("Strategy", "krum,fedadam"), ("Settings:server-lr", "0.5"), ("State", path))));
                for (int i = 0; i < rounds; i++)
                    global = Aggregate(host.Services, null, global);
            }

            return Rounds.Bytes(global);
        }
    }

    [Test]
    public void ARuleWithoutAStateHasNoRoundState()
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => options.Strategy = "median").AddFedIcu("adam", options => options.Strategy = "fedadam")
            .AddSingleton<Consumer>());
        Consumer consumer = host.Services.GetRequiredService<Consumer>();
        Assert.That(consumer.None, Is.Null);
        Assert.That(consumer.Adam, Is.Not.Null.And.SameAs(host.Services.GetKeyedService<RoundState>("adam")));
    }

    [TestCase("median", "s.safetensors", "The state is 's.safetensors', but 'median' keeps no state between rounds.")]
    [TestCase("fedadam", "", "The state is empty; a path was expected.")]
    [TestCase("krum,fedadm", null, "The strategy 'fedadm' is unknown; ", false)]
    [TestCase("fedadam,krum", null, "'krum' is a ", false)]
    public void AWrongStrategyOrStateEndsTheStart(string strategy, string? state, string sentence, bool whole = true)
    {
        using IHost host = Rounds.CreateHost(services => services.AddFedIcu(
            options => (options.Strategy, options.State) = (strategy, state)));
        OptionsValidationException refused = Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync())!;
        Assert.That(refused.Failures.Single(), whole ? Is.EqualTo(sentence) : Does.StartWith(sentence));
    }

    private static byte[] Aggregate(IServiceProvider services, string? key = null) =>
        Rounds.Bytes(Aggregate(services, key, Rounds.Model(0)));

    private static MemoryModel Aggregate(IServiceProvider services, string? key, TensorSource global)
    {
        var round = new AggregationRound(global, services.GetRequiredKeyedService<RoundOptions>(key))
        {
            State = services.GetKeyedService<RoundState>(key),
        };
        for (int client = 1; client <= 3; client++)
            round.Add(ClientUpdate.FromTensors($"client-{client}", Rounds.Model(client), examples: 10 * client));
        var sink = new MemorySink();
        services.GetRequiredKeyedService<IAggregator>(key).AggregateAsync(round, sink).GetAwaiter().GetResult();
        return sink.Model;
    }

    private sealed class Consumer(RoundState? none, [FromKeyedServices("adam")] RoundState? adam)
    {
        public RoundState? None { get; } = none;

        public RoundState? Adam { get; } = adam;
    }

    private sealed class Multiply(double factor) : ServerStep
    {
        public override string Name => "multiply";

        public override void Apply(ElementBlock block)
        {
            foreach (ref double element in block.Update)
                element *= factor;
        }
    }

    private sealed class Plugin : IStrategyPlugin
    {
        public void Register(StrategyRegistry registry) => registry.Add(Doubling);
    }
}
