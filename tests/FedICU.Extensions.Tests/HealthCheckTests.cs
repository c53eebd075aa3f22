using FedICU.Compute;
using FedICU.Tests.Compute;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

internal sealed class HealthCheckTests
{
    [Test]
    public async Task ABackendThatKeepsTheContractIsHealthy()
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => options.Strategy = "fedavg").AddFedIcu("lora", options => options.Strategy = "fedicu")
            .AddHealthChecks().AddFedIcu().AddFedIcu("lora", tags: ["startup"]));
        HealthReport report = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        Assert.That(report.Status, Is.EqualTo(HealthStatus.Healthy));
        Assert.That(report.Entries.Keys, Is.EquivalentTo(new[] { "fedicu", "fedicu-lora" }));
        Assert.That(report.Entries["fedicu"].Description, Does.Match("^The backend 'simd' keeps the contract in all [0-9]+ trials[.]$"));
        Assert.That(report.Entries["fedicu-lora"].Tags, Is.EqualTo(new[] { "startup" }));
    }

    [TestCase(null, HealthStatus.Unhealthy)]
    [TestCase(HealthStatus.Degraded, HealthStatus.Degraded)]
    public async Task AFaultyBackendIsNotHealthy(HealthStatus? failureStatus, HealthStatus expected)
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => options.Strategy = "fedavg")
            .AddSingleton<IComputeBackend>(new FaultyBackend(nameof(IComputeBackend.WeightedSum)))
            .AddHealthChecks().AddFedIcu(failureStatus: failureStatus));
        HealthReportEntry entry = (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries["fedicu"];
        Assert.That(entry.Status, Is.EqualTo(expected));
        Assert.That(entry.Description, Does.Match(
            "^The backend 'faulty' breaks the contract in 4 of [0-9]+ trials: " +
            "WeightedSum F64, WeightedSum F32, WeightedSum F16, WeightedSum BF16[.]$"));
    }

    [Test]
    public async Task WrongOptionsAreUnhealthy()
    {
        // only the start of a host validates the options
        using IHost host = Rounds.CreateHost(services =>
            services.AddFedIcu(options => options.Strategy = "none").AddHealthChecks().AddFedIcu());
        HealthReportEntry entry = (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries["fedicu"];
        Assert.That(entry.Status, Is.EqualTo(HealthStatus.Unhealthy));
        Assert.That(entry.Exception, Is.TypeOf<OptionsValidationException>());
        Assert.That(entry.Description, Is.EqualTo(Rounds.Name("The strategy 'none' is unknown; NAMES are known.")));
    }

    [Test]
    public async Task ABackendIsVerifiedOnceEvenIfTheFirstCheckIsCancelled()
    {
        using IHost host = Rounds.CreateHost(services =>
            services.AddFedIcu(options => options.Strategy = "fedavg").AddHealthChecks().AddFedIcu());
        var check = new BackendHealthCheck(host.Services, null);
        var context = new HealthCheckContext { Registration = new HealthCheckRegistration("fedicu", check, null, null) };
        Assert.CatchAsync<OperationCanceledException>(() => check.CheckHealthAsync(context, new CancellationToken(canceled: true)));
        var verdicts = host.Services.GetRequiredService<BackendVerdicts>();
        Task<VerificationResult> first = verdicts.Get(host.Services.GetRequiredService<SimdBackend>());
        Assert.That((await check.CheckHealthAsync(context)).Status, Is.EqualTo(HealthStatus.Healthy));
        Assert.That(verdicts.Get(host.Services.GetRequiredService<SimdBackend>()), Is.SameAs(first));
    }
}
