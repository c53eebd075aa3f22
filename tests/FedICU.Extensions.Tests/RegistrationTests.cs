using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text;
using FedICU.Compute;
using FedICU.Tests.Compute;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

internal sealed class RegistrationTests
{
    [Test]
    public void AnAggregatorIsConfiguredFromASection()
    {
        using IHost host = Rounds.CreateHost(services => services.AddFedIcu(Rounds.Configuration(
            ("strategy", "fedprox"), ("Settings:mu", "0.5"), ("Settings:quorum", "2"), ("Settings:on-nonfinite", "drop-client"),
            ("Threads", "3"), ("DType", "bf16"), ("Statistics", "true"))));
        RoundOptions options = host.Services.GetRequiredService<RoundOptions>();
        Assert.That(host.Services.GetRequiredService<IAggregator>().Name, Is.EqualTo("fedprox"));
        Assert.That((options.Quorum, options.OnNonFinite, options.OnShape, options.Threads, options.OutputDType, options.Statistics),
            Is.EqualTo((2, FaultPolicy.DropClient, FaultPolicy.Reject, 3, DType.BF16, true)));
        Assert.That(options.Backend, Is.InstanceOf<SimdBackend>());
        Assert.That(host.Services.GetRequiredService<IAggregator>(), Is.SameAs(host.Services.GetRequiredService<IAggregator>()));
        Assert.That(host.Services.GetRequiredService<ConfiguredRound>().Options, Is.SameAs(options));
    }

    [Test]
    public void JsonLiteralsAreValues()
    {
        byte[] json = Encoding.UTF8.GetBytes(
            """
            {
              "FedICU": {
                "Strategy": "fedicu",
                "Settings": { "tau": 0.2, "eps": 1e-9, "times-share": true, "quorum": 2 },
                "Statistics": false,
                "Threads": 1,
                "Backend": null
              }
            }
            """);
        IConfiguration configuration = new ConfigurationBuilder().AddJsonStream(new MemoryStream(json)).Build();
        using IHost host = Rounds.CreateHost(services => services.AddFedIcu(configuration.GetSection("FedICU")));
        var direct = new FedIcuAggregator(new FedIcuOptions { Tau = .2, Epsilon = 1e-9, TimesShare = true });
        byte[] expected = Rounds.Aggregate(direct, new RoundOptions());
        Assert.That(
            Rounds.Aggregate(host.Services.GetRequiredService<IAggregator>(), host.Services.GetRequiredService<RoundOptions>()),
            Is.EqualTo(expected));
    }

    [Test]
    public void KeyedAggregatorsGiveTheLibrarysBits(
        [Values("fedavg", "fedprox", "fedicu")] string strategy, [Values(null, "simd", "reference")] string? backend)
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => options.Strategy = "fedavg")
            .AddFedIcu("lora", options =>
            {
                (options.Strategy, options.Backend) = (strategy, backend);
                options.Settings["quorum"] = "1";
                if (strategy == "fedicu")
                    options.Settings["tau"] = "0.3";
            })
            .AddSingleton<Consumer>());
        Consumer consumer = host.Services.GetRequiredService<Consumer>();
        IAggregator direct = strategy switch
        {
            "fedavg" => new FedAvgAggregator(),
            "fedprox" => new FedProxAggregator(),
            _ => new FedIcuAggregator(new FedIcuOptions { Tau = .3 }),
        };
        IComputeBackend expected = backend == "reference" ? ReferenceBackend.Instance : new SimdBackend();
        Assert.That(
            (consumer.Aggregator.Name, consumer.Options.Quorum, consumer.Options.Backend!.Name),
            Is.EqualTo((strategy, 1, expected.Name)));
        Assert.That(
            Rounds.Aggregate(consumer.Aggregator, consumer.Options),
            Is.EqualTo(Rounds.Aggregate(direct, new RoundOptions { Backend = expected })));
        Assert.That(host.Services.GetRequiredService<RoundOptions>().Quorum, Is.Null, "the aggregator without a name has its own options");
    }

    [Test]
    public void TheContainersBackendIsUsedIfThereIsOne()
    {
        var faulty = new FaultyBackend("none");
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => options.Strategy = "fedavg")
            .AddFedIcu("cpu", options => (options.Strategy, options.Backend) = ("fedavg", "simd"))
            .AddFedIcu("by-name", options => (options.Strategy, options.Backend) = ("fedavg", "faulty"))
            .AddFedIcu("by-key", options => (options.Strategy, options.Backend) = ("fedavg", "gpu"))
            .AddSingleton<IComputeBackend>(faulty)
            .AddKeyedSingleton<IComputeBackend>("gpu", (_, _) => ReferenceBackend.Instance));
        Assert.That(host.Services.GetRequiredService<RoundOptions>().Backend, Is.SameAs(faulty));
        Assert.That(host.Services.GetRequiredKeyedService<RoundOptions>("cpu").Backend, Is.InstanceOf<SimdBackend>());
        Assert.That(host.Services.GetRequiredKeyedService<RoundOptions>("by-name").Backend, Is.SameAs(faulty));
        Assert.That(host.Services.GetRequiredKeyedService<RoundOptions>("by-key").Backend, Is.SameAs(ReferenceBackend.Instance));
    }

    [Test]
    public void AnUnusedBackendIsNotCreated()
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => (options.Strategy, options.Backend) = ("fedavg", "simd"))
            .AddSingleton<IComputeBackend>(_ => throw new InvalidOperationException("was created")));
        Assert.That(host.Services.GetRequiredService<RoundOptions>().Backend, Is.InstanceOf<SimdBackend>());
    }

    [TestCase("Strategy", "fedsgd", "The strategy 'fedsgd' is unknown; NAMES are known.")]
    [TestCase("Strategy", null, "The strategy is missing; NAMES are known.")]
    [TestCase("Settings:tau", "warm", "Option 'tau' is 'warm'; a number was expected.")]
    [TestCase("Settings:on-shape", "dropClient", "Option 'on-shape' is 'dropClient'; reject, drop-client or drop-tensor was expected.")]
    [TestCase("Settings:on-base", "drop-tensor",
        "Option 'on-base' is 'drop-tensor'; reject or drop-client was expected.")]
    [TestCase("Settings:quorum", "0", "quorum is 0; at least 1 was expected.")]
    [TestCase("Settings:tau:value", "1", "Option 'Settings:tau' is a section; a value was expected.")]
    [TestCase("Settings", "tau=1", "Option 'Settings' is 'tau=1'; a section of names and values was expected.")]
    [TestCase("Quorum", "2", "Option 'Quorum' is unknown; Strategy, Settings, State, Backend, Threads, DType, Statistics are known here.")]
    [TestCase("Backend", "cuda",
        "The backend 'cuda' is unknown; simd, reference and the IComputeBackend services of the container are known.")]
    [TestCase("Threads", "many", "Option 'Threads' is 'many'; a whole number was expected.")]
    [TestCase("Threads", "-1", "threads is -1; 0 (one for each CPU) or more was expected.")]
    [TestCase("DType", "int8", "The dtype 'int8' is unknown; f32, f16, bf16 or f64 was expected.")]
    [TestCase("Statistics", "yes", "Option 'Statistics' is 'yes'; false or true was expected.")]
    public void WrongOptionsFailTheStartWithAMessage(string name, string? value, string sentence)
    {
        using IHost host = Rounds.CreateHost(services => services.AddFedIcu(Rounds.Configuration(("Strategy", "fedicu"), (name, value))));
        OptionsValidationException refusal = Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync())!;
        Assert.That(refusal.Failures, Is.EqualTo(new[] { Rounds.Name(sentence) }));
        Assert.That(
            () => host.Services.GetRequiredService<IAggregator>(), Throws.TypeOf<OptionsValidationException>(),
            "a host that is not started gives no aggregator either");
    }

    [Test]
    public void AllErrorsAreReportedTogetherWithTheirAggregator()
    {
        using IHost host = Rounds.CreateHost(services => services.AddFedIcu("lora", Rounds.Configuration(
            ("Strategy", "fedprox"), ("Settings:mu", "-1"), ("Settings:tau", "1"), ("DType", "x"), ("Retries", "3"))));
        OptionsValidationException refusal = Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync())!;
        Assert.That(refusal.Failures.Count(), Is.EqualTo(4), refusal.Message);
        Assert.That(refusal.Failures, Has.All.StartsWith("Aggregator 'lora': "));
        Assert.That(refusal.OptionsName, Is.EqualTo("lora"));
    }

    [Test]
    public void AMissingDeviceFailsTheStartWithItsMessage()
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => (options.Strategy, options.Backend) = ("fedavg", "gpu"))
            .AddKeyedSingleton<IComputeBackend>("gpu", (_, _) => throw new FedIcuException("There is no GPU.")));
        Assert.That(() => host.StartAsync(), Throws.TypeOf<OptionsValidationException>().With.Message.EqualTo("There is no GPU."));
    }

    [Test]
    public async Task TheStartAndTheHealthCheckReportABackendThatCannotBeCreated()
    {
        const string Message = "The backend 'gpu' cannot be created (DllNotFoundException): There is no driver.";
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => (options.Strategy, options.Backend) = ("fedavg", "gpu"))
            .AddKeyedSingleton<IComputeBackend>("gpu", (_, _) => throw new DllNotFoundException("There is no driver."))
            .AddHealthChecks().AddFedIcu());
        Assert.That(() => host.StartAsync(), Throws.TypeOf<OptionsValidationException>().With.Message.EqualTo(Message));
        HealthReport report = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        Assert.That((report.Status, report.Entries["fedicu"].Description), Is.EqualTo((HealthStatus.Unhealthy, Message)));
    }

    [Test]
    public void ArgumentsAreChecked()
    {
        var services = new ServiceCollection();
        Assert.That(() => services.AddFedIcu("", options => { }), Throws.ArgumentException);
        Assert.That(() => services.AddFedIcu((IConfiguration)null!), Throws.ArgumentNullException);
        Assert.That(() => services.AddFedIcu((Action<FedIcuHostOptions>)null!), Throws.ArgumentNullException);
        Assert.That(services, Is.Empty);
    }

    [Test]
    public void RoundsEmitTheDocumentedTelemetry()
    {
        var emitted = new HashSet<string>();
        using var meter = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == FedIcuTelemetry.MeterName)
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        meter.SetMeasurementEventCallback<double>((instrument, _, _, _) => Record(instrument.Name));
        meter.SetMeasurementEventCallback<long>((instrument, _, _, _) => Record(instrument.Name));
        meter.Start();
        using var spans = new ActivityListener
        {
            ShouldListenTo = source => source.Name == FedIcuTelemetry.ActivitySourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = span => Record([span.OperationName, .. span.TagObjects.Select(tag => tag.Key)]),
        };
        ActivitySource.AddActivityListener(spans);
        using IHost host = Rounds.CreateHost(services => services.AddFedIcu(options => options.Strategy = "fedavg"));
        Rounds.Aggregate(host.Services.GetRequiredService<IAggregator>(), host.Services.GetRequiredService<RoundOptions>());

        string[] names =
        [
            "fedicu.round", "fedicu.round.duration", "fedicu.round.clients", "fedicu.round.received", "fedicu.strategy", "fedicu.clients",
            "fedicu.tensors", "fedicu.outcome",
        ];
        Assert.That(emitted, Is.SupersetOf(names));
        if (DotnetHostsSnippets.Text is { } document)
            Assert.That(names.Where(name => !document.Contains($"`{name}`", StringComparison.Ordinal)), Is.Empty, "undocumented names");

        void Record(params string[] items)
        {
            lock (emitted)
                emitted.UnionWith(items);
        }
    }

    private sealed record Consumer([FromKeyedServices("lora")] IAggregator Aggregator, [FromKeyedServices("lora")] RoundOptions Options);
}
