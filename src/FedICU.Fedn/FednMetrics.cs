using System.Diagnostics.Metrics;

namespace FedICU.Fedn;

/// <summary>The bridge's own metrics. Those of the rounds are in <see cref="FedIcuTelemetry"/>.</summary>
internal sealed class FednMetrics
{
    /// <summary>The name of the meter.</summary>
    public const string MeterName = "FedICU.Fedn";

    private readonly Counter<long> _models, _received, _sent;

    public FednMetrics(IMeterFactory factory)
    {
        Meter meter = factory.Create(MeterName);
        _models = meter.CreateCounter<long>("fedicu.fedn.models", "{model}", "Received models, by kind and by whether they were accepted.");
        _received = meter.CreateCounter<long>("fedicu.fedn.received", "By", "Bytes of received models, as sent.");
        _sent = meter.CreateCounter<long>("fedicu.fedn.sent", "By", "Bytes of new models, as sent.");
    }

    public void Received(bool isGlobal, bool taken, long bytes)
    {
        _models.Add(1, new("fedicu.kind", isGlobal ? "global" : "client"), new("fedicu.taken", taken));
        _received.Add(bytes);
    }

    public void Sent(long bytes) => _sent.Add(bytes);
}
