using System.Diagnostics;
using System.Diagnostics.Metrics;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// The telemetry of rounds. Other tests run rounds at the same time, so these rounds have a strategy with another name.
/// </summary>
internal sealed class TelemetryTests
{
    private const string Strategy = "telemetry-test";

    // set while the test of sessions runs: other tests add updates at the same time
    private static readonly AsyncLocal<bool> IsOwnUpdate = new();

    [Test]
    public async Task ASessionCountsWhatBecomesOfItsUpdates()
    {
        var outcomes = new List<string>();
        using var meters = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Name == FedIcuTelemetry.MeterName && instrument.Name == "fedicu.session.updates")
                    self.EnableMeasurementEvents(instrument);
            },
        };
        meters.SetMeasurementEventCallback<long>((_, value, tags, _) =>
        {
            if (IsOwnUpdate.Value)
                outcomes.Add($"{value} {string.Join(' ', tags.ToArray().Select(tag => tag.Value))}");
        });
        meters.Start();
        IsOwnUpdate.Value = true;

        using var folder = new TempFolder();
        MemoryModel global = Models.Of("w", [2], 1, 2);
        using AggregationSession session = AggregationSession.Create(folder["session"], global);
        await session.AddAsync(ClientUpdate.FromTensors("a", global, 1));
        await session.AddAsync(ClientUpdate.FromTensors("a", global, 1));
        Assert.That(() => session.AddAsync("b", new MemoryStream([1])), Throws.TypeOf<RoundRejectedException>());
        Assert.That(
            () => session.AddAsync("b", new MemoryStream([1]), cancellationToken: new CancellationToken(canceled: true)),
            Throws.InstanceOf<OperationCanceledException>());
        session.Seal();
        Assert.That(() => session.AddAsync("b", new MemoryStream([1])), Throws.TypeOf<RoundRejectedException>());
        session.Dispose();
        Assert.That(() => session.AddAsync("b", new MemoryStream([1])), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(outcomes, Is.EqualTo(
            new[] { "1 accepted", "1 repeated", "1 refused Unreadable", "1 cancelled", "1 refused Late", "1 failed" }));
    }

    [Test]
    public void ARoundRecordsASpanAndMeasurements()
    {
        var spans = new List<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == FedIcuTelemetry.ActivitySourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = span =>
            {
                if (Equals(span.GetTagItem("fedicu.strategy"), Strategy))
                    spans.Add(span);
            },
        };
        ActivitySource.AddActivityListener(listener);
        var measured = new List<(string Name, double Value, string Tags)>();
        using var meters = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Name == FedIcuTelemetry.MeterName)
                    self.EnableMeasurementEvents(instrument);
            },
        };
        meters.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Add(instrument, value, tags));
        meters.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Add(instrument, value, tags));
        meters.Start();

        MemoryModel global = Models.Of("w", [2], 1, 2), bad = Models.Of("w", [2], 1, float.NaN);
        ClientUpdate[] clients = [ClientUpdate.FromTensors("a", global, 1), ClientUpdate.FromTensors("b", bad, 1)];
        var options = new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 };
        Models.Run(new StageAggregator(new Mean()), global, clients, options).Sink.Dispose();
        Assert.That(() => Models.Run(new StageAggregator(new Mean()), global, clients), Throws.TypeOf<RoundRejectedException>());

        Assert.That(spans.Select(span => (span.OperationName, span.Status, span.GetTagItem("fedicu.outcome"))),
            Is.EqualTo(new (string, ActivityStatusCode, object?)[]
        {
            ("fedicu.round", ActivityStatusCode.Unset, "aggregated"), ("fedicu.round", ActivityStatusCode.Error, "rejected"),
        }));
        Assert.That(measured.Where(one => one.Name == "fedicu.round.clients").Select(one => one.Tags),
            Is.EqualTo(new[] { "True", "False" }));
        Assert.That(measured.Where(one => one.Name == "fedicu.round.received").Sum(one => one.Value), Is.EqualTo(16));
        Assert.That(measured.Where(one => one.Name == "fedicu.round.duration").Select(one => one.Tags),
            Is.EqualTo(new[] { "aggregated", "rejected" }));
        Assert.That(measured.Where(one => one.Name == "fedicu.round.duration").Select(one => one.Value), Is.All.GreaterThan(0));

        void Add(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (Equals(tags[0].Value, Strategy))
                measured.Add((instrument.Name, value, tags.Length > 1 ? $"{tags[1].Value}" : ""));
        }
    }

    private sealed class Mean : MergeRule
    {
        public override string Name => Strategy;

        public override void Merge(TensorContext tensor) => tensor.WeightedMean();
    }
}
