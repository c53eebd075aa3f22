using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions.Tests;

/// <summary>The metrics of a server's rounds. Other tests run rounds too, so this one runs alone.</summary>
[NonParallelizable]
internal sealed class RoundsTelemetryTests : RoundsFixture
{
    [Test]
    public async Task RoundsMeasureUpdatesBytesUploadsAndEnds()
    {
        var measured = new ConcurrentQueue<(string Name, double Value, string Tags)>();
        using var meters = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Name == FederatedRoundsTelemetry.MeterName)
                    self.EnableMeasurementEvents(instrument);
            },
        };
        meters.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Add(instrument, value, tags));
        meters.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Add(instrument, value, tags));
        meters.Start();

        byte[] update = File(Rounds.Model(1));
        using (IHost host = await StartAsync(more: options => (options.ExpectedClients, options.CheckValues) = (2, false)))
        {
            await SendNonFiniteAsync(host, 1, "bad");
            await SendNonFiniteAsync(host, 1, "worse");
            while (Of(host).Status.Attempt == 1)
                await Task.Delay(5);
            await Of(host).AddAsync(1, "a", new MemoryStream(update));
            await Of(host).AddAsync(1, "a", new MemoryStream(update));
            Assert.That(() => Of(host).AddAsync(1, "b", new MemoryStream([1, 2, 3])), Throws.TypeOf<RoundRejectedException>());
            Assert.That(() => Of(host).AddAsync(7, "b", new MemoryStream(update)), Throws.TypeOf<RoundRejectedException>());
            Assert.That(
                () => Of(host).AddAsync(1, "b", new MemoryStream(update), cancellationToken: new CancellationToken(canceled: true)),
                Throws.InstanceOf<OperationCanceledException>());
            await Of(host).AddAsync(1, "b", new MemoryStream(update));
            await Of(host).WaitForRoundAsync(2).WaitAsync(Patience);
            await host.StopAsync();
            Assert.That(() => Of(host).AddAsync(2, "b", new MemoryStream(update)), Throws.InvalidOperationException);
        }

        Assert.That(
            measured.Where(item => item.Name == "fedicu.rounds.updates").Select(item => item.Tags),
            Is.EqualTo(new[]
            {
                "accepted", "accepted", "accepted", "repeated", "refused Unreadable", "refused Stale", "cancelled", "accepted", "failed",
            }));
        // three updates of a model and one that is no model; the two with NaN have an update's length too
        Assert.That(Sum("fedicu.rounds.received"), Is.EqualTo((5 * update.Length) + 3));
        Assert.That(Sum("fedicu.rounds.uploads"), Is.Zero);
        Assert.That(
            measured.Where(item => item.Name == "fedicu.rounds.finished").Select(item => item.Tags),
            Is.EqualTo(new[] { "rejected", "aggregated" }));
        Assert.That(
            measured.Where(item => item.Name == "fedicu.rounds.duration").Select(item => (item.Tags, item.Value >= 0)),
            Is.EqualTo(new[] { ("rejected", true), ("aggregated", true) }));
        if (DotnetHostsSnippets.Text is { } document)
        {
            Assert.That(
                measured.Select(item => item.Name).Distinct().Where(name => !document.Contains($"`{name}`", StringComparison.Ordinal)),
                Is.Empty, "undocumented names");
        }

        double Sum(string name) => measured.Where(item => item.Name == name).Sum(item => item.Value);

        void Add(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
            measured.Enqueue((instrument.Name, value, string.Join(' ', tags.ToArray().Select(tag => tag.Value))));
    }
}
